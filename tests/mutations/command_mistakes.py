"""Mistakes in the commands: which settings count, what belongs together, what is printed."""

from tests.mutations.mistake import listed

_FIT = "main:a_run_that_does_not_fit_the_question_is_refused"
_RESUME = "main:train_sample_resume_and_gradcheck"
_SHAPE = "interop:a_file_of_another_shape_gives_way_to_the_run_and_a_flag_does_not"
_FINE = "interop:fine_tuning_keeps_the_shape_of_the_model"
_PROGRESS = "main:a_checkpoint_whose_progress_makes_no_sense_is_refused"
_PADDED = "inputs:tokens_beyond_the_tokenizer_are_never_drawn"
_PROMPT = "main:a_prompt_that_cannot_be_used_is_refused"
_NUMBERS = "main:a_model_without_a_tokenizer_takes_numbers"
_STARTS = "inputs:the_command_that_training_prints_works_for_every_text"
_FILES = "interop:sample_reads_files_and_passes_over_what_is_of_training"
_PREPARES = "prepare:the_command_prepares_and_names_mistakes"
_SHORT = "main:gradcheck_takes_differences_where_memory_is_short"

TRAIN = listed(
    "cli/commands/train.py",
    (
        "C01", "a data set and a text are given, and the text is taken",
        ('    if flags.get("data") and "dataset" in flags:\n',
         '    if flags.get("data") == flags:\n'),
        "main:what_cannot_be_used_is_refused",
    ),
    (
        "C02", "a shape in a file is refused where it differs from the run's",
        ("shape = field_types(GPTConfig, TransformerConfig).keys() & values.keys() - flags.keys()",
         "shape = set()"), _SHAPE,
    ),
    (
        "C03", "a shape in a flag is ignored where it differs from the run's",
        ("shape = field_types(GPTConfig, TransformerConfig).keys() & values.keys() - flags.keys()",
         "shape = field_types(GPTConfig, TransformerConfig).keys() & values.keys()"),
        _SHAPE, _FIT,
    ),
    (
        "C04", "a run resumes with any data",
        ("    if run.dataset != dataset.fingerprint:\n",
         "    if not run.dataset:\n"), _FIT,
    ),
    (
        "C05", "a run resumes with any tokenizer",
        ("    if kinds[0] != kinds[1]:\n", "    if not kinds:\n"),
        "durability:resuming_with_another_tokenizer_names_both",
    ),
    (
        "C06", "tokenizers of one size are the same",
        ("fingerprint = hashlib.sha256(content).hexdigest()[:16]",
         'fingerprint = hashlib.sha256(b"").hexdigest()[:16]'),
        "durability:resuming_with_another_tokenizer_names_both",
    ),
    (
        "C07", "a run that is at its end goes on for an update",
        ("    if iteration > config.max_iters and not config.eval_only:\n",
         "    if iteration > config.max_iters + 1 and not config.eval_only:\n"), _FIT,
    ),
    (
        "C08", "a negative iteration is one",
        ('not (fitting and run.progress["iteration"] >= 0):', "not fitting:"),
        f"{_PROGRESS}[progress2]",
    ),
    (
        "C10", "a model that is fine-tuned has the shape of the flags in name alone",
        ("        if flags[name] != shape[name]:\n", "        if not shape:\n"), _FINE,
    ),
    (
        "C11", "fine-tuning has the dropout of the model's own training",
        ('dropout=values.get("dropout", 0.0)', 'dropout=values.get("dropout")'),
        "commands:fine_tuning_has_no_dropout_unless_it_is_asked_for",
    ),
    (
        "C12", "a model learns data whose tokens mean something else",
        ("theirs is not None and ours is not None and theirs.to_json() != ours.to_json():",
         "theirs is not None and ours is not None and theirs is ours:"),
        "commands:data_whose_tokens_mean_something_else_is_refused",
    ),
    (
        "C13", "a model without a tokenizer learns a text in one of its own",
        ("    if ours is None and config.data:\n", "    if ours is None and config is None:\n"),
        "interop:text_for_a_model_without_a_tokenizer_is_refused",
    ),
    (
        "C14", "an evaluation that is not finite is a result",
        ("    if not all(map(math.isfinite, measured.values())):\n", "    if not measured:\n"),
        "commands:an_evaluation_that_is_not_finite_has_the_status_of_one",
    ),
    (
        "C15", "an interrupted run has ended well",
        ("        return INTERRUPTED\n", "        return 0\n"),
        "main:an_interrupted_training_saves_and_prints_how_to_resume[2]",
    ),
    (
        "C16", "a folder with blanks is printed as it is",
        ("quoted(config.out_dir)", "config.out_dir"),
        "main:an_interrupted_training_saves_and_prints_how_to_resume[2]",
    ),
    (
        "C17", "parameters that decay are those that do not",
        ('("non-decayed", [p for p in model.params.values() if p.ndim < 2]),',
         '("non-decayed", [p for p in model.params.values() if p.ndim >= 2]),'),
        "main:the_lines_that_people_grep_are_nanogpts",
    ),
    (
        "C18", "without a preset training has nanoGPT's defaults",
        ("        values = PRESETS[DEFAULT_PRESET] | values\n", "        pass\n"),
        "commands:without_a_preset_the_default_one_is_trained",
    ),
    (
        "C19", "with --eval_only a folder is made",
        ('if init_from != "resume" and not config.eval_only and', 'if init_from != "resume" and'),
        "main:evaluating_only_writes_nothing",
    ),
)  # fmt: skip

SAMPLE = listed(
    "cli/commands/sample.py",
    (
        "C20", "all tokens of the model are drawn",
        ("0 if trained.tokenizer is None else trained.tokenizer.vocab_size,", "0,"), _PADDED,
    ),
    (
        "C21", "that some tokens are not drawn is not said",
        ("trained.tokenizer.vocab_size < trained.config.vocab_size:",
         "trained.tokenizer.vocab_size > trained.config.vocab_size:"), _PADDED,
    ),
    (
        "C23", "how training began is where the model is from",
        ('    if values.get("init_from") == "scratch" and "init_from" not in flags:\n',
         '    if values.get("init_from") == "scratch" and not values:\n'), _FILES,
    ),
    (
        "C24", "an empty start is the default one",
        ("    if not text:\n        raise", "    if text is None:\n        raise"), _PROMPT,
    ),
    (
        "C25", "a start from a file keeps its byte-order mark",
        ('decode("utf-8-sig")', 'decode("utf-8")'),
        "inputs:a_prompt_from_a_file_keeps_its_line_ends",
    ),
    (
        "C26", "a start that was given gives way to one that the model knows",
        ('_start_tokens(trained, config.start) if "start" in settings else',
         '_start_tokens(trained, config.start) if config.start != "\\n" else'),
        "inputs:a_start_that_was_given_is_never_replaced",
    ),
    (
        "C27", "without a line break a text starts with token 0",
        ('    for text in ("\\n", " ", run.tokenizer.decode(start)):\n',
         '    for text in ("\\n", run.tokenizer.decode(start)):\n'), _STARTS,
    ),
    (
        "C28", "the mean log-probability is that of all tokens but one",
        ("mean = self._sum / max(self._count, 1)", "mean = self._sum / max(self._count - 1, 1)"),
        "commands:log_probabilities_are_printed_below_each_text",
    ),
)  # fmt: skip

OTHERS = [
    *listed(
        "cli/commands/gradcheck.py",
        (
            "C30", "a wrong gradient is a success",
            ("return OK if report.ok else CHECK_FAILED", "return OK"),
            "main:gradcheck_fails_when_a_gradient_is_wrong",
        ),
        (
            "C31", "a run is checked in the shape of flags",
            ('        extra = [*sources, *(f"--{name}" for name in shape)]\n',
             "        extra = [*sources]\n"), _FIT,
        ),
        (
            "C33", "where memory is short the complex step is taken all the same",
            ('            return "differences"\n', "            return config.method\n"), _SHORT,
        ),
        (
            "C34", "a method that was asked for gives way to another one",
            ('        if config.method == "auto":\n', "        if config.method:\n"), _SHORT,
        ),
        (
            "C35", "one token is predicted from itself",
            ("    if model_config.vocab_size == 1:\n", "    if model_config.vocab_size == 0:\n"),
            "main:what_cannot_be_used_is_refused",
        ),
        (
            "C37", "progress is printed into the JSON",
            ("file=sys.stderr if config.json else sys.stdout", "file=sys.stdout"),
            "main:gradcheck_prints_json_and_reports_progress_to_stderr",
        ),
    ),
    *listed(
        "cli/checked_batches.py",
        (
            "C32", "a run is checked on data that has changed",
            ("    if data.fingerprint != run.dataset:\n", "    if not data.fingerprint:\n"),
            _FIT,
        ),
        (
            "C36", "the only position has no target",
            ("    if T > 1:\n", "    if T > 0:\n"),
            "main:gradcheck_of_one_position_has_something_to_check",
        ),
    ),
    *listed(
        "cli/commands/prepare.py",
        (
            "C40", "a data set may be written outside of data/",
            ('if not parts or ".." in parts or PurePath(config.dataset).is_absolute():',
             "if not parts or PurePath(config.dataset).is_absolute():"), _PREPARES,
        ),
        (
            "C41", "no text file makes a data set without text",
            ("    if not files:\n", "    if files is None:\n"), _PREPARES,
        ),
        (
            "C42", "a checkpoint is no source of a tokenizer",
            ('path.suffix in (".npz", ".pt")', 'path.suffix in (".pt",)'),
            "inputs:a_text_is_prepared_with_the_tokenizer_of_a_run",
        ),
        (
            "C43", "a folder of a run is no source of a tokenizer",
            ("inside = any((path / name).is_file() for name in (LAST, BEST, CHECKPOINT))",
             "inside = any((path / name).is_file() for name in (CHECKPOINT,))"),
            "inputs:a_text_is_prepared_with_the_tokenizer_of_a_run",
        ),
    ),
    *listed(
        "cli/commands/bench.py",
        (
            "C45", "a file's batch is not that which is timed",
            ('config.batch_size or given.get("batch_size", TrainConfig.batch_size)',
             "config.batch_size or TrainConfig.batch_size"),
            "nanogpt_files:bench_times_the_model_and_the_batch_of_a_file",
        ),
    ),
]  # fmt: skip

MISTAKES = [*TRAIN, *SAMPLE, *OTHERS]
