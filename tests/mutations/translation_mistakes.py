"""Mistakes in what a user does with an encoder-decoder: pairs, their training, their decoding.

TB: beam search; TD: decoding; TP: pairs; TT: training; TC: commands; TI: what looks inside.
"""

from tests.mutations.mistake import listed

_EXHAUSTIVE = "translating:a_wide_beam_is_an_exhaustive_search"
_GREEDY = "translating:a_beam_of_one_is_greedy"
_KEPT = "translating:a_finished_hypothesis_is_kept_while_others_go_on"
_PENALTY = "translating:the_penalty_decides_and_its_length_counts_end"
_LIMIT = "translating:a_target_ends_at_the_limit"
_NEVER = "translating:padding_and_begin_are_never_written"
_EPOCH = "pair_files:an_epoch_of_batches_holds_every_pair_once"
_SPLITS = "pair_files:splits_have_no_source_in_common"
_VERSES_SPLIT = "verses:splits_share_no_verse_and_the_longest_are_left_out"
_MODULE = "verses:a_module_is_its_entries_as_plain_text"
_SEEN = "pair_tasks:no_sequence_of_the_test_is_ever_trained_on"
_TARGETS = "pair_tasks:targets_are_what_the_task_says"
_CATALOGUES = "pair_files:plain_messages_of_a_mo_file"
_PO = "pair_files:plain_messages_of_a_po_file"
_BAD_FILES = "pair_files:bad_text_files"
_SCHEDULE = "pair_training:the_papers_schedule"
_CALLS = "pair_training:a_run_is_these_calls"
_BY_HAND = "pair_training:an_evaluation_by_hand"
_DIVIDED = "pair_training:an_evaluation_is_divided_among_processes"
_INSPECT = "pair_commands:inspect_shows_a_pair_as_a_table_and_as_a_page"
_TRACE = "pair_trace:the_gradient_of_every_activation_is_exact[post-reference]"
_WEIGHTS = "pair_trace:scores_and_weights_of_cross_attention[post-reference]"
_MUON = "muon:the_blocks_of_both_stacks_are_muons[post]"
_PAGE = "alignment:the_numbers_are_those_of_the_trace"
_SETTINGS = "pair_commands:settings_that_do_not_belong_together"

DECODING = (
    *listed(
        "generation/beam_search.py",
        (
            "TB1", "the beam forgets hypotheses that finished earlier",
            ("finished[one.source] += [", "finished[one.source] = ["), _KEPT, _EXHAUSTIVE,
        ),
        (
            "TB2", "the penalty is of a length without END",
            ("_scored(*pair, length, alpha)", "_scored(*pair, length - 1, alpha)"), _EXHAUSTIVE,
        ),
        (
            "TB3", "the penalty multiplies",
            ("total / length_penalty(length, alpha))", "total * length_penalty(length, alpha))"),
            _EXHAUSTIVE,
        ),
        (
            "TB4", "the penalty is (4 + length) / 5",
            ("(5 + n_tokens) / 6", "(4 + n_tokens) / 5"), _PENALTY, _EXHAUSTIVE,
        ),
        (
            "TB5", "END is not forced at the limit",
            ("found[:, np.arange(found.shape[1]) != END] = -np.inf", "pass"), _LIMIT,
        ),
        (
            "TB6", "the log-probability of what was written is forgotten",
            ("(table + np.array(one.log_probabilities)[:, None])", "table"), _EXHAUSTIVE,
        ),
        (
            "TB7", "a hypothesis continues another's keys and values",
            ("rows += [first + parent for parent in parents]",
             "rows += [first for _ in parents]"), _EXHAUSTIVE,
        ),
        (
            "TB8", "a search ends with the first finished hypothesis",
            ("len(found) >= beam or best >= reachable", "bool(found)"), _EXHAUSTIVE,
        ),
        (
            "TB9", "a search ends when nothing can get better without a penalty",
            ("/ length_penalty(limit, alpha)\n    return", "\n    return"), _EXHAUSTIVE,
        ),
        (
            "TB10", "END counts among the last of the beam's candidates, too",
            ("if token == END and rank < beam:", "if token == END:"), _GREEDY,
        ),
        (
            "TB11", "padding is written",
            ("_NEVER_WRITTEN = [PAD, BEGIN]", "_NEVER_WRITTEN = [BEGIN]"), _NEVER,
        ),
        (
            "TB12", "the first hypothesis found is returned",
            ("key=lambda h: -h.score", "key=lambda h: 0"), _EXHAUSTIVE,
        ),
    ),
    *listed(
        "generation/translating.py",
        (
            "TD1", "the limit of a target is the model's alone",
            ("return min(longest, model.config.target_size)", "return model.config.target_size"),
            _LIMIT,
        ),
        (
            "TD2", "the limit of a target forgets the model's",
            ("return min(longest, model.config.target_size)", "return longest"), _LIMIT,
        ),
        (
            "TD3", "greedy decoding begins to count at PAD",
            ("token += sampler.draw(streams[k], logits[row, END:])",
             "token = sampler.draw(streams[k], logits[row])"), _NEVER,
        ),
        (
            "TD4", "targets come back in the order of their sources' lengths",
            ("return [found[k] for k in range(len(sources))]", "return list(found.values())"),
            _GREEDY,
        ),
        (
            "TD5", "a source keeps the row of one that has ended",
            ("active = [active[row] for row in rows]", "active = active[: len(rows)]"), _GREEDY,
        ),
        (
            "TD6", "draws are those of the place in the batch",
            ("_drawn(decoder, limits, sampler, group)",
             "_drawn(decoder, limits, sampler, [0] * len(group))"),
            "translating:draws_depend_on_the_seed_and_the_number_of_the_source_alone",
        ),
        (
            "TD7", "padding within a source is not noticed",
            ("(source <= PAD)", "(source < PAD)"), "translating:bad_input",
        ),
    ),
)  # fmt: skip

PAIRS = (
    *listed(
        "data/pair_tasks.py",
        (
            "TP1", "training draws sequences of the test",
            ("if _is_test(example) == test:", "if not test or _is_test(example):"),
            _SEEN, "pair_tasks:no_day_of_the_test_is_ever_trained_on",
        ),
        (
            "TP2", "the same sum the other way round may be trained on",
            ('f"{min(a, b)}+{max(a, b)}"', 'f"{a}+{b}"'), _SEEN,
        ),
        (
            "TP3", "another form of a day of the test may be trained on",
            ("date.isoformat(), date.isoformat())", "date.isoformat(), text)"),
            "pair_tasks:no_day_of_the_test_is_ever_trained_on",
        ),
        (
            "TP4", "day and month are exchanged in one form",
            ('f"{day}.{date.month}.{year}"', 'f"{date.month}.{day}.{year}"'), _TARGETS,
        ),
        (
            "TP5", "a reversed sequence misses its shortest lengths",
            ("shortest + next(words) % (size - shortest + 1)", "size"), _TARGETS,
        ),
        (
            "TP6", "pairs do not depend on the index",
            ("random_words(seed, stream, index)", "random_words(seed, stream, 0)"),
            "pair_tasks:draws_are_a_function_of_the_arguments",
        ),
    ),
    *listed(
        "data/pair_batches.py",
        (
            "TP7", "every epoch has one order of batches",
            ("seed, _ORDER_OF_BATCHES + 2 * stream, epoch)", "seed, _ORDER_OF_BATCHES, 0)"),
            "pair_files:epochs_have_orders_of_their_own",
        ),
        (
            "TP8", "every epoch has the same batches",
            ("order = self._order(seed, stream, epoch)", "order = self._order(seed, stream, 0)"),
            _EPOCH,
        ),
        (
            "TP9", "padding is not counted in a batch",
            ("(k + 1 - start) * larger.max() > batch_tokens",
             "(k + 1 - start) * int(length.max()) > 2 * batch_tokens"), _EPOCH,
        ),
        (
            "TP10", "the last batch is left out",
            ("return [*cuts, (start, len(lengths))]", "return cuts or [(start, len(lengths))]"),
            _EPOCH,
        ),
        (
            "TP11", "pairs are not sorted by length",
            ("return places[np.lexsort((keys[:, 0], keys[:, 1]))]",
             "return places + 0 * keys[:, 0]"),
            "pair_files:sorted_by_length_little_is_padding",
        ),
    ),
    *listed(
        "data/pair_dataset.py",
        (
            "TP12", "pairs and not sources are split, so that a source is in both",
            ("if split_of[pairs[k][0]] == split]", 'if (k % 9 == 0) == (split == "val")]'), _SPLITS,
        ),
        (
            "TP13", "a source longer than the model sees is let through",
            ("            if length > size:\n", "            if length > 10**9:\n"),
            _BAD_FILES,
        ),
        (
            "TP14", "the fingerprint knows no targets",
            ("        for text in pair:\n", "        for text in pair[:1]:\n"),
            "pair_commands:pairs_of_two_files",
        ),
        (
            "TP22", "byte pairs are learned from the test as well",
            (' if split_of[pair[0]] == "train" for text in pair]', " for text in pair]"),
            "verses:byte_pairs_are_learned_from_training_alone",
        ),
        (
            "TP23", "the test is the validation split",
            ("ordered[k * count : (k + 1) * count]", "ordered[:count]"), _VERSES_SPLIT,
        ),
    ),
    *listed(
        "data/verses.py",
        (
            "TP24", "a verse that one side lacks is a pair",
            (" if a and b)", ")"), "verses:verses_are_made_once_and_then_read_from_the_cache",
        ),
        (
            "TP25", "every verse is in the first block",
            ("texts[block][start : start + length]", "texts[0][start : start + length]"), _MODULE,
        ),
        (
            "TP26", "footnotes belong to verses",
            ('_NOT_VERSE.sub("", entry)', "entry"), _MODULE,
        ),
        (
            "TP27", "verses are not compared with the pinned ones",
            ('        downloads.check_pinned(data, PIN, "verses", instead)\n', ""),
            "verses:other_verses_than_the_pinned_ones_are_refused",
        ),
    ),
    *listed(
        "files/debian_packages.py",
        (
            "TP28", "members of an archive begin where the last one ends",
            ("place += size + size % 2", "place += size"), _MODULE,
        ),
        (
            "TP29", "a package is not compared with the pinned one",
            ("    check_pinned(data, package.pin, package.filename, instead)\n", ""),
            "verses:a_package_that_is_not_the_pinned_one_is_refused",
        ),
    ),
    *listed(
        "data/sentences.py",
        (
            "TP15", "a source has no END",
            ("return np.append(tokenizer.encode(text) + FIRST, END)",
             "return tokenizer.encode(text) + FIRST"),
            "pair_tasks:batches_of_a_task_are_read_as_they_were_written",
        ),
    ),
    *listed(
        "data/pair_files.py",
        (
            "TP16", "files of unequal numbers of lines are cut to the shorter one",
            ("if len(sources) != len(targets):", "if False:"), _BAD_FILES,
        ),
        (
            "TP17", "empty lines are pairs",
            ("if not line.strip():", "if line is None:"), _BAD_FILES,
        ),
    ),
    *listed(
        "data/message_catalogues.py",
        (
            "TP18", "plural forms are plain messages",
            (r'and b"\0" not in message ', ""), _CATALOGUES,
        ),
        (
            "TP19", "the character set of a catalogue is ignored",
            ('return "utf-8" if name == "CHARSET" else name', 'return "utf-8"'), _CATALOGUES,
        ),
        (
            "TP20", "fuzzy translations count",
            ("all(entry.values()) and not fuzzy", "all(entry.values())"), _PO,
        ),
        (
            "TP21", "a message beyond the end of its file is cut off",
            ("if place + length > len(data):", "if place > len(data):"),
            "pair_files:bad_catalogues",
        ),
    ),
)  # fmt: skip

TRAINING = (
    *listed(
        "training/schedule.py",
        (
            "TT1", "the paper's step is counted from 0",
            ("noam_rate(iteration + 1, n_embd,", "noam_rate(max(iteration, 1), n_embd,"),
            _SCHEDULE, _CALLS,
        ),
        (
            "TT2", "the rate does not depend on the width",
            ("return factor * n_embd**-0.5 * min(", "return factor * min("), _SCHEDULE, _CALLS,
        ),
        (
            "TT3", "the rate rises for ever",
            ("min(step**-0.5, rising)", "rising"), _SCHEDULE, _CALLS,
        ),
    ),
    *listed(
        "training/optimizers.py",
        (
            "TT4", "the width of the model is not passed on",
            ("learning_rate_at(iteration, config, width)", "learning_rate_at(iteration, config)"),
            _CALLS,
        ),
    ),
    *listed(
        "training/pair_training.py",
        (
            "TT5", "the loss of an evaluation is smoothed",
            ("model.forward(source, target, smoothing=False)", "model.forward(source, target)"),
            _BY_HAND,
        ),
        (
            "TT12", "the test of verses is the validation split",
            ('("test", dataset.test)', '("test", dataset.val)'),
            "pair_training:the_test_of_verses_is_evaluated_alone",
        ),
        (
            "TT6", "the mean loss counts batches, not targets",
            ("targets = targets_in(target)", "targets = 1"),
            "pair_training:the_whole_test_is_evaluated_where_it_is_stored",
        ),
        (
            "TT7", "padding counts among the targets",
            ("int((targets[:, 1:] != PAD).sum())", "targets[:, 1:].size"),
            "pair_training:the_whole_test_is_evaluated_where_it_is_stored",
        ),
        (
            "TT8", "every micro-batch of an update is the same",
            ("gradient_accumulation_steps + micro_step\n", "gradient_accumulation_steps\n"),
            _CALLS,
        ),
        (
            "TT9", "a target that begins right is right",
            ("text == target for text", "text.startswith(target) for text"),
            "pair_training:exact_matches_are_counted",
        ),
        (
            "TT10", "the test is evaluated on batches of training",
            ('("val", dataset.val)', '("val", dataset.train)'), _BY_HAND,
        ),
    ),
    *listed(
        "training/checkpoint.py",
        (
            "TT11", "a checkpoint does not say that it is an encoder-decoder",
            ('{"model": _kind_of_model(model)}', "{}"),
            "pair_training:a_checkpoint_holds_an_encoder_decoder",
        ),
    ),
    *listed(
        "training/run_folder.py",
        (
            "TC1", "translate refuses encoder-decoders and takes GPTs",
            ("    if not isinstance(run.config, TransformerConfig):\n",
             "    if isinstance(run.config, TransformerConfig):\n"),
            "pair_commands:translate_a_text_and_standard_input",
        ),
    ),
    *listed(
        "interop/open_model.py",
        (
            "TC2", "an encoder-decoder is taken for a GPT",
            ("    if not isinstance(run.model, GPT):\n", "    if run.model is None:\n"),
            "pair_training:a_checkpoint_holds_an_encoder_decoder",
        ),
    ),
    *listed(
        "cli/pair_runs.py",
        (
            "TC3", "what to write instead of a GPT's setting is not said",
            ('_INSTEAD.get(name, "an encoder-decoder has no such setting")',
             '"an encoder-decoder has no such setting"'), _SETTINGS,
        ),
    ),
    *listed(
        "cli/prompts.py",
        (
            "TC5", "a source longer than the model reads is passed on",
            ("    if len(tokens) > longest:\n", "    if False:\n"),
            "pair_commands:a_source_that_cannot_be_read",
        ),
    ),
    *listed(
        "cli/commands/translate.py",
        (
            "TC6", "lines of standard input count from 0",
            ("enumerate(sys.stdin, 1)", "enumerate(sys.stdin)"),
            "pair_commands:a_line_of_standard_input_is_named_after_those_before_it",
        ),
    ),
)  # fmt: skip

INSIDE = (
    *listed(
        "cli/checked_batches.py",
        (
            "TI1", "gradcheck reads pairs that the model was trained on",
            ("    texts = data.val.texts(", "    texts = data.train.texts("),
            "pair_commands:gradcheck_reads_the_pairs_of_the_run",
        ),
        (
            "TI2", "random pairs have no padding",
            ("longest if k == 0 else", "longest if k >= 0 else"),
            "pair_commands:gradcheck_of_a_model_without_data_takes_random_pairs",
        ),
    ),
    *listed(
        "gradients/model_diagnosis.py",
        (
            "TI3", "the parts of keys and values are called queries and keys",
            ('else ("key", "value")', 'else ("query", "key")'),
            "pair_commands:gradcheck_fails_where_a_gradient_is_wrong",
        ),
    ),
    *listed(
        "cli/commands/inspect.py",
        (
            "TI4", "a target that is given is not read",
            ("    if config.target:\n        target =", "    if False:\n        target ="),
            _INSPECT,
        ),
    ),
    *listed(
        "cli/prompts.py",
        (
            "TI5", "a target longer than the model writes is passed on",
            ("    if len(tokens) - 1 > longest:\n", "    if False:\n"),
            "pair_commands:a_pair_that_cannot_be_inspected",
        ),
    ),
    *listed(
        "interop/open_model.py",
        (
            "TI6", "convert refuses the format of the runs, too",
            (' and form != "gpt_numpy":\n        raise', ":\n        raise"),
            "pair_commands:convert_writes_the_model_alone_and_refuses_formats_of_others",
        ),
    ),
    *listed(
        "inspection/trace/diagram.py",
        (
            "TI7", "keys and values of cross-attention change places",
            ("enumerate(PARTS[1:], start=1)", "enumerate(PARTS[:0:-1], start=1)"), _WEIGHTS,
        ),
        (
            "TI8", "a norm of its own has no normalised rows",
            ('    elif "rstd" in kept:', '    elif "no such" in kept:'),
            "pair_trace:only_arrays_that_no_layer_stores_are_recomputed[post-reference]",
        ),
    ),
    *listed(
        "inspection/trace/lookup.py",
        (
            "TI9", "weights are recomputed with a causal mask, without the lengths",
            ("more = self._settings | {letter: self.inputs[name] for letter, name in "
             "node.inputs.items()}", "more = self._settings"), _WEIGHTS,
        ),
    ),
    *listed(
        "inspection/trace/norms.py",
        (
            "TI10", "what a token adds to the table lacks the scale of the lookup",
            ('dout * node.keywords.get("scale", 1)', "dout"),
            "pair_trace:the_norm_of_a_pair_equals_that_of_a_pass_over_it_alone[post-reference]",
        ),
    ),
    *listed(
        "inspection/trace/operations.py",
        (
            "TI11", "the equation of the loss is that of targets without smoothing",
            ("    if stage.settings.smoothing:\n        return SMOOTHED",
             "    if not stage.settings.smoothing:\n        return SMOOTHED"),
            "pair_trace:the_equations_are_those_of_this_model[post-reference]",
        ),
    ),
    *listed(
        "inspection/page/alignment.py",
        (
            "TI12", "the gradients of the scores are those of the weights",
            ('"dscores": ("scores", "grad")', '"dscores": ("probabilities", "grad")'), _PAGE,
        ),
        (
            "TI13", "the tokens of the target are shown where they are read",
            ("_names(target[1:], run.tokenizer)", "_names(target[:-1], run.tokenizer)"), _PAGE,
        ),
        (
            "TI14", "wrong gradients are not named",
            ('if not verdict["ok"]]', 'if verdict["ok"] is None]'),
            "alignment:every_gradient_is_checked_and_a_wrong_one_is_named",
        ),
    ),
    *listed(
        "inspection/page/gradient_check.py",
        (
            "TI15", "the rows of a norm of its own are checked in another place",
            ('return node.arrays["out"], moved', 'return f"{prefix}.out", moved'),
            "alignment:every_gradient_is_checked_and_a_wrong_one_is_named",
        ),
    ),
    *listed(
        "training/muon.py",
        (
            "TI16", "AdamW updates the blocks of an encoder-decoder",
            ('return within.startswith("h.") and', 'return name.startswith("h.") and'), _MUON,
        ),
        (
            "TI17", "keys and values of cross-attention are one matrix",
            ("(ATTENTION, CROSS)", "(ATTENTION,)"), _MUON,
        ),
    ),
    *listed(
        "training/pair_training.py",
        (
            "TI18", "every process evaluates all batches",
            ("if k % world.size == world.rank:", "if k >= 0:"), _DIVIDED,
        ),
        (
            "TI19", "the translations of the processes come one after the other",
            ("        written[rank :: world.size] = json.loads(found)\n",
             "        start = rank * -(-len(sources) // world.size)\n"
             "        written[start : start + len(json.loads(found))] = json.loads(found)\n"),
            _DIVIDED,
        ),
    ),
)  # fmt: skip

MISTAKES = [*DECODING, *PAIRS, *TRAINING, *INSIDE]
