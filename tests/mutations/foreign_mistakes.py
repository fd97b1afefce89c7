"""Mistakes with files of others: tokens of other programs, runs of nanoGPT, tokenizers."""

from tests.mutations.mistake import listed

_FOREIGN = "bins:other_files_of_tokens_are_recognised_and_written_again_as_is_said"
_OURS = "bins:nanogpts_own_files_are_not_taken_for_others"
_SAID = "nanogpt_runs:the_file_says_what_is_known_of_the_run"
_SAME_BITS = "nanogpt_runs:resumed_from_nanogpts_file_a_run_goes_on_to_the_same_bits"
_ALONE = "nanogpt_runs:a_model_alone_has_the_groups_and_no_moments"
_ANOTHER = "nanogpt_runs:an_optimizer_of_another_kind_is_refused_and_its_model_is_not"
_NO_SETTINGS = "nanogpt_runs:settings_that_are_no_settings_are_left_out"
_BEST = "nanogpt_runs:the_best_loss_is_that_of_an_evaluation"
_EVERY_COMMAND = "nanogpt_runs:a_folder_with_nanogpts_file_is_taken_by_every_command"
_GPT2 = "nanogpt_runs:without_a_vocabulary_gpt2s_is_assumed_as_nanogpt_does"
_CHARACTERS = "interop:a_tokenizer_of_characters_is_read_back_and_others_of_words_are_not"
_WINDOWS = "interop:vocabularies_from_windows_and_without_an_end_of_text_are_read[True]"

BINS = listed(
    "data/foreign_bins.py",
    (
        "W01", "NumPy's files are tokens with a strange beginning",
        ("data[:6].tobytes() ==", "data[:5].tobytes() =="), f"{_FOREIGN}[NumPy's .npy-65]",
    ),
    (
        "W02", "llm.c's later files have 16 bits, too",
        ('20240801: "<u4"', '20240801: "<u2"'), f"{_FOREIGN}[a file of llm.c, with-5000]",
    ),
    (
        "W03", "llm.c's header has 256 bytes, not integers",
        ("_HEADER = 1024", "_HEADER = 256"), f"{_FOREIGN}[a file of llm.c-5000]",
    ),
    (
        "W04", "two tokens are enough for a judgement",
        ("if len(data) >= _FEWEST else", "if len(data) > 0 else"), f"{_OURS}[65-2]",
    ),
    (
        "W05", "a byte that may be a letter makes a text",
        ("if _TEXT[data].all():", "if _TEXT[data].any():"), f"{_OURS}[65-4000]",
    ),
    (
        "W06", "tokens that are all 0 are of another kind",
        ("    if used == [False] * 8:\n", "    if used == []:\n"), f"{_OURS}[1-4000]",
    ),
    (
        "W07", "integers of 64 bits are taken for those of 32",
        ("if not any(used[4:]) and itemsize < 8 and any(used[:4]):",
         "if not any(used[4:]) and itemsize > 4 and any(used[:4]):"),
        f"{_FOREIGN}[integers of 64 bits-65]",
    ),
    (
        "W08", "32 bits of a large vocabulary are taken for too many",
        ("if itemsize == 2 and not any(used[2:4] + used[6:]):",
         "if not any(used[2:4] + used[6:]):"),
        "bins:32_bit_tokens_of_a_large_vocabulary_may_all_be_small",
    ),
    (
        "W09", "a full vocabulary looks as if its bytes were swapped",
        ("and int(swapped.max()) <= 50304", "and int(swapped.max()) <= 65535"),
        f"{_OURS}[65536-4000]",
    ),
    (
        "W10", "byte pairs are compared with themselves, not swapped",
        ("    swapped = tokens.byteswap()\n", "    swapped = tokens\n"),
        f"{_FOREIGN}[big-endian integers of 16 bits-50257]",
    ),
)  # fmt: skip

RUNS = listed(
    "interop/nanogpt_training.py",
    (
        "W20", "every weight decays, that of a layer norm, too",
        ("if len(shape) >= 2]", 'if name.endswith("weight")]',
         "if len(shape) < 2]", 'if not name.endswith("weight")]'), _ALONE,
    ),
    (
        "W21", "True and what no counter holds are iterations",
        ("if type(iteration) is not int or not 0 <= iteration < 2**48:",
         "if not isinstance(iteration, int):"),
        "nanogpt_runs:an_iteration_that_is_no_count_is_refused",
    ),
    (
        "W22", "a number in a tensor is not read",
        ("if isinstance(value, StoredTensor) and not value.shape:",
         "if isinstance(value, StoredTensor) and value.shape == (1,):"), _BEST, _SAME_BITS,
    ),
    (
        "W23", "an optimizer without a step yet cannot be read",
        ("    if not state:\n", "    if state is None:\n"), _ALONE,
    ),
    (
        "W24", "groups of other sizes are taken as they come",
        ("if [*map(len, numbers)] != [*map(len, names)] or len(listed) != len(numbers):",
         "if sum(map(len, numbers)) != sum(map(len, names)):"), _ANOTHER,
    ),
    (
        "W25", "moments belong to the parameters in the model's order",
        ("zip(itertools.chain(*numbers), itertools.chain(*names), strict=True)",
         "zip(itertools.chain(*numbers), parameter_shapes(config), strict=True)"), _SAME_BITS,
    ),
    (
        "W26", "every tensor may have taken another number of steps",
        ("if steps or step != int(", "if step != int("),
        f"{_ANOTHER}[same number of steps]",
    ),
    (
        "W27", "moments of another shape are found out when they are read",
        ("            if tensor.shape != shape:\n", "            if len(tensor.shape) > 2:\n"),
        f"{_ANOTHER}[shape \\\\(2, 2\\\\), not \\\\(5, 4\\\\)]",
    ),
    (
        "W28", "True is a number of sequences",
        ("if type(value) in kinds and", "if isinstance(value, kinds) and"), _NO_SETTINGS,
    ),
    (
        "W29", "the precision that a graphics card had is ours",
        ('"device", "dtype", "compile"', '"device", "compile"'), _NO_SETTINGS,
    ),
    (
        "W30", "where a setting cannot be used the data is forgotten, too",
        ('return TrainConfig(dataset=str(kept["dataset"]))', "return TrainConfig()"),
        "nanogpt_runs:a_value_that_no_run_has_gives_way_to_the_defaults_but_the_data_keeps_its_name",
    ),
    (
        "W31", "means and mean squares change places in reading",
        ("zip((optimizer.m, optimizer.v), stored.moments or ()",
         "zip((optimizer.v, optimizer.m), stored.moments or ()"), _SAME_BITS,
    ),
    (
        "W32", "the correction of the moments begins anew",
        ("    optimizer.steps = stored.steps\n", "    optimizer.steps = 0\n"), _SAME_BITS,
    ),
    (
        "W33", "what decays and what does not change places in writing",
        ("decays = (settings.weight_decay, 0.0)", "decays = (0.0, settings.weight_decay)"), _SAID,
    ),
    (
        "W34", "the numbers of the second group begin at 0 again",
        ("list(range(counts[0], sum(counts)))", "list(range(counts[1]))"), _SAID,
    ),
    (
        "W35", "all tensors share one step, which torch counts up for each of them",
        ('{"step": step.copy(), **dict(pairs)}', '{"step": step, **dict(pairs)}'), _SAID,
    ),
    (
        "W36", "the rate is that of the settings, not of the last step",
        ('common |= {"lr": optimizer.learning_rate, "betas"', 'common |= {"betas"'), _SAID,
    ),
)  # fmt: skip

OPEN = listed(
    "interop/open_model.py",
    (
        "W40", "nanoGPT's file goes before a run of this project",
        (" and not any(\n        os.path.isfile(folder / name) for name in (LAST, BEST)\n    )",
         ""), "nanogpt_runs:what_a_folder_holds_of_this_project_goes_first",
    ),
    (
        "W41", "any checkpoint of nanoGPT's one file is that file",
        ('holds_foreign_model(out_dir) and checkpoint in ("best", "last"):',
         "holds_foreign_model(out_dir):"), _EVERY_COMMAND,
    ),
    (
        "W42", "a model without an optimizer is resumed",
        ("        if stored.unusable:\n", "        if stored.unusable is None:\n"),
        f"{_ANOTHER}[there is no optimizer]",
    ),
    (
        "W43", "what the name of a data set leads to is opened wherever it is",
        ('if name and ".." not in Path(name).parts and not Path(name).is_absolute():',
         "if name:"), "nanogpt_runs:the_name_of_a_data_set_leads_to_no_other_folder",
    ),
    (
        "W44", "data is looked for where the command is started alone",
        ('[Path("data") / name, folder.parent / "data" / name]', '[Path("data") / name]'),
        _EVERY_COMMAND,
    ),
    (
        "W45", "any vocabulary without characters is GPT-2's",
        ("if run.settings and run.config.vocab_size in _GPT2_SIZES:", "if run.settings:"),
        "nanogpt_runs:a_smaller_vocabulary_is_not_assumed_to_be_gpt2s",
    ),
    (
        "W46", "without GPT-2's vocabulary nothing is opened",
        ('            say(f"GPT-2\'s tokenizer is not available: {error}")\n',
         "            raise error\n"), _GPT2,
    ),
    (
        "W47", "what nanoGPT writes before its first evaluation is a loss",
        ("if stored.iteration and stored.best_val_loss < _FIRST_BEST:",
         "if stored.best_val_loss < 2 * _FIRST_BEST:"), _BEST,
    ),
    (
        "W48", "a folder without nanoGPT's file is resumed",
        ("    if not (path / nanogpt.CHECKPOINT).is_file():\n",
         "    if not path.is_dir():\n"),
        "nanogpt_runs:a_folder_of_hugging_face_is_taken_too_and_cannot_be_resumed",
    ),
)  # fmt: skip

TOKENIZERS = [
    *listed(
        "data/tokenizers/byte_pairs.py",
        (
            "W50", "an end of text that is token 0 is none",
            ("        if self.end_of_text is None:\n", "        if not self.end_of_text:\n"),
            "inputs:end_of_text_in_a_prompt_is_one_token_as_in_nanogpt",
        ),
        (
            "W51", "a long word is learned from twice where it is cut",
            ("        start = run.end()\n", "        start = run.start()\n"),
            "prepare:words_are_cut_for_learning_and_no_character_is_lost",
        ),
        (
            "W52", "what follows the last long word is not learned from",
            ("    yield text[start:]\n", "    yield text[start:start]\n"),
            "prepare:words_are_cut_for_learning_and_no_character_is_lost",
        ),
        (
            "W53", "an added token that takes the spaces behind it is read",
            ('and not token["rstrip"])', 'and token["content"])'),
            "interop:added_tokens_that_are_words_are_read_in_long_texts_too",
        ),
        (
            "W54", "some errors of the library come through",
            ("    except BaseException as error:", "    except ValueError as error:"),
            "prepare:a_tokenizer_of_another_kind_is_refused",
        ),
        (
            "W55", "a mark at the beginning of a file belongs to its first line",
            ('return data.decode("utf-8-sig")', 'return data.decode("utf-8")'), _WINDOWS,
        ),
        (
            "W56", "line ends of Windows belong to the pairs",
            ('_read(merges).replace("\\r\\n", "\\n").split("\\n")', '_read(merges).split("\\n")'),
            _WINDOWS,
        ),
    ),
    *listed(
        "data/tokenizers/tokenizer_files.py",
        (
            "W57", "any way to split a text is that into characters",
            ("if kinds != (_EACH, _JOINED, None) or not isinstance(table, dict):",
             "if not isinstance(table, dict):"), _CHARACTERS,
        ),
        (
            "W58", "tokens may be numbered with gaps",
            ("sorted(map(repr, table.values())) != sorted(map(repr, range(len(table))))",
             "len(set(map(repr, table.values()))) != len(table)"), _CHARACTERS,
        ),
        (
            "W59", "characters have the order of their code points, not of their tokens",
            ("CharTokenizer(sorted(table, key=table.__getitem__))",
             "CharTokenizer(sorted(table))"), _CHARACTERS,
        ),
        (
            "W60", "what is written for transformers drops unknown characters in silence",
            (', "unk_token": "<unk>"}', "}"),
            "interop:transformers_reads_a_tokenizer_of_characters",
        ),
    ),
]  # fmt: skip

MISTAKES = [*BINS, *RUNS, *OPEN, *TOKENIZERS]
