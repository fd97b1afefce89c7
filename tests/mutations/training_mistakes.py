"""Mistakes in training: what an update is made of, what is best, what is saved and when, what is
resumed, and the batches.
"""

from tests.mutations.mistake import listed

_CALLS = "loop:a_run_is_these_calls"
_BEST = "loop:the_best_is_the_first_of_the_least_losses_even_at_the_start"
_CLOCK = "loop:a_run_is_saved_as_often_as_the_clock_says"
_LONG = "loop:a_long_evaluation_and_a_long_update_do_not_keep_a_run_from_being_saved"
_ALWAYS = "loop:an_evaluation_without_gain_is_saved_only_if_asked_for"
_CHANGED = "folder:the_settings_of_the_optimizer_can_be_changed_on_resuming"
_FAILS = "folder:no_number_of_starts_that_fail_wipes_a_finished_run"
_KILLED = "folder:a_start_killed_between_any_two_renames_loses_nothing"
_KEPT = "folder:the_last_are_kept_by_iteration_whatever_the_clock_says"
_STAND_IN = "folder:best_and_last_stand_in_for_each_other"
_DROPS = "log:resuming_drops_what_comes_after_the_checkpoint"
_DIGEST = "durable:the_checksum_is_of_all_blocks_in_order"
_LARGE = "durable:arrays_larger_than_a_block_come_back_whole"
_EPOCHS = "batches:every_epoch_and_every_seed_has_an_order_of_its_own"
_CHUNKS = "batches:an_epoch_of_several_chunks_is_shuffled_as_a_whole"
_FLAT = "batches:a_batch_across_the_end_of_an_epoch_takes_from_both"
_WRONG = "loop:a_setting_of_the_optimizer_that_is_wrong_changes_nothing"


LOOP = listed(
    "training/loop.py",
    (
        "T01", "micro-batches overlap with those of the next update",
        ("self.state.iteration * config.gradient_accumulation_steps + micro_step,",
         "self.state.iteration + micro_step,"), _CALLS,
    ),
    (
        "T02", "all micro-batches of an update have one dropout mask",
        ("random_key(config.seed, DROPOUT, iteration, k)",
         "random_key(config.seed, DROPOUT, iteration, 0)"), _CALLS,
    ),
    (
        "T03", "every update has the dropout masks of the first",
        ("random_key(config.seed, DROPOUT, iteration, k)",
         "random_key(config.seed, DROPOUT, 0, k)"), _CALLS,
    ),
    (
        "T04", "the divisor is that of the first micro-batch alone",
        ("for _, y in batches], np.float64)", "for _, y in batches[:1]], np.float64)"), _CALLS,
    ),
    (
        "T05", "an update without any target divides by zero",
        ("max(int(counts.sum()), 1)", "int(counts.sum())"),
        "loop:an_iteration_without_targets_is_divided_by_one",
    ),
    (
        "T06", "the gradients of the last update are added to those of this one",
        ("accumulate=self._gradient.accumulate",
         "accumulate=iteration > 0 or self._gradient.accumulate"), _CALLS,
    ),
    (
        "T07", "the learning rate is that of the next iteration",
        ("self.optimizer, iteration, config)", "self.optimizer, iteration + 1, config)"), _CALLS,
    ),
    (
        "T08", "the printed loss is that of the last micro-batch",
        ("np.array(losses, np.float64)", "np.array(losses[-1:], np.float64)"), _CALLS,
    ),
    (
        "T09", "an equal loss counts as a gain",
        ('losses["val"] < state.best', 'losses["val"] <= state.best'), _BEST,
    ),
    (
        "T10", "the training loss decides what is best",
        ('losses["val"] < state.best', 'losses["train"] < state.best'), _BEST,
    ),
    (
        "T11", "a best loss at iteration 0 is not saved",
        ("if better or self.config.always_save_checkpoint:",
         "if state.iteration and (better or self.config.always_save_checkpoint):"), _BEST,
    ),
    (
        "T12", "the best iteration of a checkpoint is lost if it is 0",
        ("if self.best_iteration < 0 else", "if self.best_iteration <= 0 else"),
        "loop:the_state_goes_through_json", _BEST,
    ),
    (
        "T13", "the best iteration of a checkpoint is lost if it is 1",
        ("if self.best_iteration < 0 else", "if self.best_iteration in (-1, 1) else"),
        "loop:the_state_goes_through_json", _BEST,
    ),
    (
        "T14", "every evaluation is saved, whatever the settings say",
        ("if better or self.config.always_save_checkpoint:", "if True:"), _ALWAYS,
    ),
    (
        "T15", "only better evaluations are saved, whatever the settings say",
        ("if better or self.config.always_save_checkpoint:", "if better:"), _ALWAYS,
    ),
    (
        "T16", "patience counts all evaluations, not those without a gain",
        ("0 if better else state.evaluations_without_gain + 1",
         "state.evaluations_without_gain + 1"),
        "loop:patience_ends_a_run_that_does_not_get_better", _BEST,
    ),
    (
        "T17", "there is no last evaluation",
        ("% config.eval_interval == 0 or iteration == config.max_iters",
         "% config.eval_interval == 0"), _CLOCK,
    ),
    (
        "T18", "a resumed run evaluates once more where it was already done",
        ("if iteration == self.state.evaluated:", "if False:"), "resume",
    ),
    (
        "T19", "one update too few",
        ("while state.iteration <= config.max_iters:", "while state.iteration < config.max_iters:"),
        "loop:max_iters_plus_one_updates_as_in_nanogpt",
    ),
    (
        "T20", "the clock is never looked at",
        ("0 < interval <= passed", "False"), _CLOCK, _LONG,
    ),
    (
        "T21", "the clock saves every time once the first interval has passed",
        ("self.state.iteration, self._clock()\n", "self.state.iteration, self._saved_at\n"), _CLOCK,
    ),
    (
        "T22", "the clock counts seconds as minutes",
        ("60 * self.config.save_minutes", "self.config.save_minutes"), _CLOCK,
    ),
    (
        "T23", "save_minutes=0 saves always instead of never",
        ("0 < interval <= passed", "interval <= passed"), _CLOCK,
    ),
    (
        "T24", "the clock saves the same iteration again and again",
        (" and self.state.iteration != self._saved_iteration:\n            self._save_last()\n"
         "            self._say", ":\n            self._save_last()\n            self._say"), _LONG,
    ),
    (
        "T25", "a run whose reader is gone is not saved",
        ("        except OSError:\n            self._save_alone()\n", "        except OSError:\n"),
        "loop:a_run_whose_reader_is_gone_is_saved_and_goes_on_to_the_bit",
    ),
    (
        "T26", "an iteration is printed before it is in the log",
        ("        norms = lay", '        self._say(f"iter {iteration}:")\n        norms = lay'),
        "loop:a_run_whose_reader_is_gone_is_saved_and_goes_on_to_the_bit",
    ),
    (
        "T27", "a signal is not heeded between micro-batches",
        ("batches, strict=True):\n            self._poll()\n", "batches, strict=True):\n"), _LONG,
    ),
    (
        "T28", "a run that a signal stopped is not saved",
        ('                outcome = "interrupted"\n', '                return "interrupted"\n'),
        "resume", "loop:an_interrupt_right_after_a_resume_keeps_everything",
    ),
    (
        "T29", "mfu above 100 % is let stand",
        ("if flops > self._peak:", "if False:"),
        "loop:no_step_uses_more_than_the_whole_machine",
    ),
    (
        "T30", "a best checkpoint that a crash prevented is not made up for",
        ("if state.iteration == state.best_iteration:", "if False:"),
        "durability:a_best_checkpoint_that_a_crash_prevented_is_made_up_for",
    ),
    (
        "T31", "the checkpoint that is kept bears the iteration of the next",
        ("keep_earlier(folder, self._saved_iteration)",
         "keep_earlier(folder, self.state.iteration)"),
        "durability:the_last_ones_are_kept_under_their_iterations",
    ),
    (
        "T32", "one checkpoint more is kept than asked for",
        ("self.config.keep_last - 1", "self.config.keep_last"),
        "durability:the_last_ones_are_kept_under_their_iterations",
        "durability:one_is_kept_unless_more_are_asked_for",
    ),
    (
        "T34", "a folder that vanished is made anew",
        ("if self.world.first and not Path(self.config.out_dir).is_dir():", "if False:"),
        "durability:a_folder_that_vanishes_is_not_made_anew",
    ),
    (
        "T36", "a due text is written at every evaluation",
        ("or not sample_due(iteration, *times) or", "or"),
        "monitor:a_run_notes_them_and_resuming_notes_each_once",
    ),
)  # fmt: skip

SCHEDULE = listed(
    "training/schedule.py",
    (
        "T40", "a constant learning rate is min_lr",
        ("    if not config.decay_lr:\n        return peak",
         "    if not config.decay_lr:\n        return low"),
        "loop:a_constant_learning_rate_is_the_given_one",
    ),
    (
        "T41", "a min_lr above the learning rate raises it",
        ("min(config.min_lr, config.learning_rate)", "config.min_lr"),
        "loop:the_learning_rate_never_rises_above_the_given_one",
    ),
    (
        "T42", "the cosine begins at iteration 0, not after the warm-up",
        ("(iteration - config.warmup_iters) /", "iteration /"), "schedule",
    ),
    (
        "T43", "a decay that ends with the warm-up divides by zero",
        ("if iteration >= config.lr_decay_iters:", "if iteration > config.lr_decay_iters:"),
        "loop:the_schedule_has_no_division_by_zero",
    ),
)  # fmt: skip

EVALUATION = listed(
    "training/evaluation.py",
    (
        "T44", "the same batch is evaluated eval_iters times",
        ("micro_step=k\n", "micro_step=0\n"), "loop:evaluation_is_the_mean_over_these_batches",
    ),
    (
        "T45", "both splits are drawn from one stream",
        ('("val", dataset.val, EVALUATE_VAL)', '("val", dataset.val, EVALUATE_TRAIN)'),
        "loop:evaluation_is_the_mean_over_these_batches",
    ),
    (
        "T46", "both losses are of the training split",
        ('("val", dataset.val, EVALUATE_VAL)', '("val", dataset.train, EVALUATE_VAL)'),
        "loop:evaluation_is_the_mean_over_these_batches",
    ),
    (
        "T47", "the loss of the last batch instead of the mean",
        ("sum_in_order(in_order(found, world)) / config.eval_iters", "found[-1]"),
        "loop:evaluation_is_the_mean_over_these_batches",
    ),
    (
        "T48", "the whole validation split: batches count alike, however many targets they have",
        ("int((y >= 0).sum()))", "len(x) * model.config.block_size)"),
        "loop:the_full_evaluation_is_the_mean_over_every_target",
    ),
    (
        "T49", "the whole of both splits is evaluated",
        ('if config.eval_full and name == "val":', "if config.eval_full:"),
        "loop:the_full_evaluation_is_of_the_validation_split_alone",
    ),
    (
        "T50", "the evaluation of the whole split cannot be interrupted",
        ("        if k % world.size == 0:\n            poll()\n", ""),
        "loop:every_batch_of_an_evaluation_can_be_interrupted",
    ),
)  # fmt: skip

FOLDER = listed(
    "training/run_folder.py",
    (
        "T54", "resuming ignores --dropout",
        ('overrides.get("dropout", run.config.dropout)', "run.config.dropout"), _CHANGED,
    ),
    (
        "T56", "resuming with another dtype goes on with the old one",
        ('"dtype": run.model.precision, ', ""),
        "folder:a_resumed_run_keeps_its_shape_and_dtype",
    ),
    (
        "T57", "resuming with --dataset still takes the text file of before",
        ('if "dataset" in overrides and not overrides.get("data"):', "if False:"),
        "folder:a_resumed_run_may_name_a_dataset_instead_of_its_file",
    ),
    (
        "T58", "a new start overwrites the run in previous/",
        ("while any(os.path.lexists(path / name) for name in names):", "while False:"), _FAILS,
        "folder:each_run_moves_to_a_subfolder_of_its_own",
    ),
    (
        "T59", "the last checkpoint moves first",
        ("folder / BEST, folder / LOG, folder / LAST]\n\n\ndef make",
         "folder / BEST, folder / LOG, folder / LAST][::-1]\n\n\ndef make"), _KILLED,
    ),
    (
        "T60", "an empty log moves as if it were a run",
        ("if any(path.stat().st_size for path in before):", "if before:"),
        "folder:an_empty_log_is_no_run",
    ),
    (
        "T61", "the rest of a move that was cut off goes to another place",
        ("while any(os.path.lexists(path / name) for name in names):", "while path.exists():"),
        _KILLED,
    ),
    (
        "T62", "checkpoints are kept by the time of their files",
        ("for number in sorted(n for n in kept if n < iteration)[:-count]:",
         "for number in sorted(kept, key=lambda n: kept[n].stat().st_mtime)[:-count]:"), _KEPT,
    ),
    (
        "T63", "checkpoints are kept by name, so that ten thousand comes before nine",
        ("for number in sorted(n for n in kept if n < iteration)[:-count]:",
         "for number in sorted((n for n in kept if n < iteration), key=str)[:-count]:"), _KEPT,
    ),
    (
        "T64", "checkpoints of another continuation count as the newest",
        ("n for n in kept if n < iteration", "n for n in kept"),
        "folder:checkpoints_beyond_this_iteration_are_of_another_continuation_and_stay",
    ),
    (
        "T65", "the oldest are kept",
        ("if n < iteration)[:-count]", "if n < iteration)[count:]"), _KEPT,
    ),
    (
        "T66", "sampling takes the last checkpoint, not the best",
        ("[best, last, *earlier] if which", "[last, best, *earlier] if which"), _STAND_IN,
        "loop:best_and_last_checkpoint_are_kept_apart",
    ),
    (
        "T67", "a run with its best checkpoint alone cannot be resumed",
        ("else [last, *earlier, best]", "else [last, *earlier]"),
        "folder:a_run_without_its_last_checkpoint_resumes_from_what_is_left",
    ),
    (
        "T68", "of the earlier checkpoints the oldest is resumed",
        (".items(), reverse=True)", ".items())"), _STAND_IN,
        "folder:a_run_without_its_last_checkpoint_resumes_from_what_is_left",
    ),
    (
        "T69", "the run named as moved is not the latest",
        ("key=lambda name: (len(name), name)", "key=str"),
        "folder:each_run_moves_to_a_subfolder_of_its_own",
    ),
    (
        "T70", "a damaged last checkpoint names no others",
        ("        if not names:\n            raise\n", "        raise\n"),
        "durability:a_damaged_last_checkpoint_names_those_to_go_on_from",
    ),
    (
        "T71", "keeping a checkpoint where there is none is an error",
        ("        if (folder / LAST).is_file():\n            preserve",
         "        if True:\n            preserve"),
        "folder:an_earlier_checkpoint_is_the_last_one_as_it_was",
    ),
)  # fmt: skip

LOG = listed(
    "training/log.py",
    (
        "T72", "the update of the checkpoint's iteration stays in the log",
        ("else iteration - 1)", "else iteration)"), _DROPS,
    ),
    (
        "T73", "evaluations are dropped by the iteration of updates",
        ("(evaluated if of_evaluation else iteration - 1)", "iteration - 1"), _DROPS,
    ),
    (
        "T74", "texts count as updates",
        ('& {"val_loss", "sample"}', '& {"val_loss"}'), _DROPS,
    ),
    (
        "T75", "a line that a crash cut off ends the resume",
        ("(ValueError, KeyError", "(KeyError"), "log:lines_that_a_crash_cut_off_are_dropped",
    ),
    (
        "T76", "a new process begins the log anew",
        ('self.path.open("a"', 'self.path.open("w"'), "log:lines_are_appended",
    ),
)  # fmt: skip

MONITOR = listed(
    "training/monitor.py",
    (
        "T33", "a parameter that is not finite is not found",
        ("if not np.isfinite(param).all():", "if np.isnan(param).all():"),
        "loop:a_loss_that_is_not_finite_says_where_it_went_wrong",
    ),
    (
        "T79", "the position embedding counts as the head",
        ('if parts[0] in ("wte", "wpe") else', 'if parts[0] == "wte" else'),
        "monitor:a_layer_is_what_reads_and_writes_the_residual_stream",
    ),
    (
        "T80", "texts are as frequent as evaluations",
        ("iteration % (every * eval_interval) == 0", "True"),
        "monitor:texts_are_rare_where_evaluations_are_frequent",
    ),
    (
        "T81", "generating a text cannot be interrupted",
        ("        poll()\n", ""), "monitor:a_text_goes_on_from_its_start_and_can_be_interrupted",
    ),
)  # fmt: skip

OPTIMIZER = listed(
    "training/optimizer.py",
    (
        "T82", "an untied head does not decay",
        ("int(params[name].ndim >= 2)",
         'int(params[name].ndim >= 2 and name != "lm_head.weight")'),
        "loop:matrices_decay_and_vectors_do_not",
    ),
    (
        "T83", "vectors decay, too",
        ("int(params[name].ndim >= 2)", "int(params[name].ndim >= 1)"),
        "loop:matrices_decay_and_vectors_do_not",
    ),
    (
        "T84", "grad_clip=0 makes every gradient zero",
        (" if self.grad_clip else 1.0", ""),
        "loop:a_long_gradient_is_clipped_and_a_short_one_is_not",
    ),
    (
        "T85", "short gradients are made longer",
        ("min(1.0, self.grad_clip / (norm + CLIP_EPS))", "self.grad_clip / (norm + CLIP_EPS)"),
        "loop:a_long_gradient_is_clipped_and_a_short_one_is_not",
    ),
    (
        "T86", "the norm is that after clipping",
        ("        return norm\n", "        return norm * self.clip_factor(norm)\n"),
        "loop:a_long_gradient_is_clipped_and_a_short_one_is_not", "adamw",
    ),
    (
        "T87", "a gradient that is not finite updates the parameters",
        ("if not math.isfinite(norm):", "if False:"),
        "loop:a_gradient_that_is_not_finite_changes_nothing",
    ),
    (
        "T88", "settings are not checked before a step",
        ("        self._check_settings()\n        self.world", "        self.world"), _WRONG,
    ),
    (
        "T95", "the second moments of a checkpoint are the first",
        ("self._state[kind].get(name, nothing)",
         'self._state[kind.replace("adamw.v", "adamw.m")].get(name, nothing)'),
        "checkpoint:everything_comes_back", _LARGE,
    ),
    (
        "T89", "beta may be 1",
        ("lambda x: 0 <= x < 1", "lambda x: 0 <= x <= 1"), _WRONG,
    ),
)  # fmt: skip

CHECKPOINT = listed(
    "training/checkpoint.py",
    (
        "T93", "only the first block of a large array is read",
        ("read_into(file, array.reshape(-1).view(np.uint8).data)",
         "read_into(file, array.reshape(-1).view(np.uint8).data[: 1 << 22])"), _LARGE,
    ),
    (
        "T94", "an array is read from where its description begins",
        ("file.seek(archives.start_of(file, item) + begin)",
         "file.seek(archives.start_of(file, item))"), _LARGE,
    ),
    (
        "T96", "a checkpoint with more tokens than its model is accepted",
        ("if tokenizer is not None and tokenizer.vocab_size > config.vocab_size:", "if False:"),
        "checkpoint:a_header_that_lies_is_refused",
    ),
    (
        "T97", "a member too many is accepted",
        ("if expected != set(sizes):", "if expected - set(sizes):"),
        "checkpoint:members_too_many_too_few_twice_or_compressed_are_refused",
    ),
    (
        "T98", "an array in Fortran's order is read as C's",
        ("array.dtype or fortran:", "array.dtype:"),
        "checkpoint:an_array_that_lies_is_refused",
    ),
)  # fmt: skip

DURABLE = listed(
    "files/durable.py",
    (
        "T99", "the checksum leaves out all blocks after the first",
        ("range(0, size, BLOCK)", "range(0, min(size, 1), BLOCK)"), _DIGEST,
        "durable:a_sealed_file_is_verified_and_no_changed_block_goes_unseen",
    ),
    (
        "T100", "the checksum leaves out every other block",
        ("range(0, size, BLOCK)", "range(0, size, 2 * BLOCK)"), _DIGEST,
        "durable:a_sealed_file_is_verified_and_no_changed_block_goes_unseen",
    ),
    (
        "T101", "the checksum does not depend on the order of blocks",
        ('b"".join(pool.map(sha256_of_block, range(0, size, BLOCK)))',
         'b"".join(sorted(pool.map(sha256_of_block, range(0, size, BLOCK))))'), _DIGEST,
        "durable:a_sealed_file_is_verified_and_no_changed_block_goes_unseen",
    ),
    (
        "T102", "blocks are read without their turn",
        ("            file.seek(start)\n", ""),
        "durable:a_sealed_file_is_verified_and_no_changed_block_goes_unseen",
    ),
    (
        "T103", "the file is flushed again instead of its folder",
        ("    _flush_folder(path.parent)\n", "    _flush_folder(path)\n"),
        "durable:the_file_is_flushed_by_its_name_and_then_its_folder",
    ),
    (
        "T104", "a name that exists already is not replaced",
        ("    try:\n        os.replace(temporary, target)\n",
         "    try:\n        target.exists() or os.replace(temporary, target)\n"),
        "durable:what_a_file_held_is_kept_under_another_name_also_over_an_older_one",
    ),
)  # fmt: skip

BATCHES = listed(
    "data/batches.py",
    (
        "T105", "every epoch has the same order",
        ("_philox(seed, TRAIN, epoch, 0).random_raw(1",
         "_philox(seed, TRAIN, 0, 0).random_raw(1"), _EPOCHS,
    ),
    (
        "T106", "every seed has the same order",
        ("_philox(seed, TRAIN, epoch, 0).random_raw(1",
         "_philox(0, TRAIN, epoch, 0).random_raw(1"), _EPOCHS,
    ),
    (
        "T107", "the order is that of the text",
        ("_shuffled(order, windows, keys).astype", "order.astype"), _CHUNKS, _EPOCHS,
    ),
    (
        "T108", "windows are hardly shuffled: one round",
        ("        for key in keys:\n", "        for key in keys[:1]:\n"), _CHUNKS,
    ),
    (
        "T109", "in a large epoch the first windows come again and again",
        ("    start = chunk * _CHUNK_OF_WINDOWS\n", "    start = 0\n"), _CHUNKS,
    ),
    (
        "T110", "every chunk is shuffled for itself",
        ("_shuffled(order, windows, keys)",
         "(np.uint64(start) + _shuffled(order - np.uint64(start), len(order), keys))"), _CHUNKS,
    ),
    (
        "T111", "a batch across the end of an epoch goes on with the old one",
        ("divmod(index * batch_size + b, windows)",
         "(index * batch_size // windows, (index * batch_size + b) % windows)"), _FLAT,
    ),
    (
        "T112", "the windows of every epoch start at the same phase",
        ("phase = first % min(block_size, n_tokens - windows * block_size)", "phase = 0"),
        "batches:an_epoch_sees_every_token_once_and_the_next_cuts_elsewhere",
    ),
    (
        "T113", "the last place of a split is never drawn",
        ("np.uint64(len(tokens) - block_size)", "np.uint64(max(1, len(tokens) - block_size - 1))"),
        "batches:every_place_is_drawn_about_equally_often_including_first_and_last",
    ),
) + listed(
    "data/token_file.py",
    (
        "T114", "tokens of 32 bits are read at half their place",
        ("file.seek(start * self.dtype.itemsize)", "file.seek(start * 2)"),
        "batches:tokens_in_a_file_are_read_from_their_own_place",
    ),
)  # fmt: skip

SIGNALS = listed(
    "base/signals.py",
    (
        "T115", "a closed terminal ends a run that is not saved",
        ('("SIGINT", "SIGTERM", "SIGHUP")', '("SIGINT", "SIGTERM")'),
        "signals:each_kind_calls_the_handler_and_afterwards_what_it_called_before",
        "loop:a_signal_that_is_ignored_does_not_stop_a_run_and_the_others_do",
    ),
    (
        "T116", "a signal that the parent asked to ignore is taken again",
        ("not in (signal.SIG_IGN, None)", "is not None"),
        "signals:what_the_parent_asked_to_ignore_stays_ignored",
        "loop:a_signal_that_is_ignored_does_not_stop_a_run_and_the_others_do",
    ),
    (
        "T117", "handlers are not put back",
        ("signal.signal(kind, old if restore else signal.SIG_IGN)", "pass"),
        "signals:each_kind_calls_the_handler_and_afterwards_what_it_called_before",
    ),
    (
        "T118", "handlers are put back in a process that is about to end",
        ("old if restore else signal.SIG_IGN", "old"),
        "signals:handlers_come_back_after_an_error_and_in_a_process_that_ends_signals_are_ignored",
    ),
)  # fmt: skip

PRECOMPILE = listed(
    "training/precompile.py",
    (
        "T119", "an interrupt while kernels compile waits for the compiler",
        ("        poll()\n", "        pass\n"),
        "durability:an_interrupt_while_compiling_ends_at_once",
    ),
    (
        "T120", "the step before the first compiles no dropout",
        ("enumerate((None, 1))", "enumerate((None, None))"),
        "durability:the_step_before_the_first_compiles_all_that_training_takes",
    ),
)  # fmt: skip

MISTAKES = [
    *LOOP, *SCHEDULE, *EVALUATION, *FOLDER, *LOG, *MONITOR, *OPTIMIZER, *CHECKPOINT, *DURABLE,
    *BATCHES, *SIGNALS, *PRECOMPILE,
]  # fmt: skip
