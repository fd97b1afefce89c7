"""Mistakes around the model: files, configurations, the command line, and gradient checks."""

from tests.mutations.mistake import listed

_REFUSED = "downloads:refused_with_nothing_left_behind"
_RANGE = "config:a_value_out_of_range_is_refused_by_name"
_FLAG = "settings:a_flag_gives_a_value_of_the_type_of_its_setting"
_WORD = "settings:a_word_that_cannot_be_used_is_refused_with_the_fix"
_TOML = "settings:toml_that_cannot_be_used_is_refused"
_CODE = "settings:what_is_no_literal_is_refused_with_its_line_and_never_run"
_NAMED = "diagnosis:a_mistake_has_its_name"
_NEARLY = "diagnosis:nearly_the_mistake_has_no_name"
_NOT_FINITE = "measured:a_gradient_that_is_not_finite_is_wrong"
_CHOSEN = "measured:a_method_is_chosen_by_time"
_ONE = "measured:one_wrong_element_is_measured"
_KINDS = "measured:a_kind_whose_differences_are_not_a_number_disagrees"
_PICKLE = "pickles:a_damaged_pickle_is_refused_with_the_reason"

FILES = [
    *listed(
        "files/downloads.py",
        (
            "X01", "other content of the right length is accepted",
            ("    if found != pin.sha256:\n", "    if not found:\n"), _REFUSED,
        ),
        (
            "X02", "a redirect may leave https",
            ('if not newurl.lower().startswith("https://"):', "if not newurl:"),
            "downloads:refused_with_nothing_left_behind[a redirect to http]",
        ),
        (
            "X03", "a URL may be any",
            ('if not pin.url.lower().startswith("https://"):', "if not pin.url:"),
            "downloads:only_https_is_requested",
        ),
        (
            "X04", "an endless answer is read whole",
            ("data: bytes = response.read(pin.size + 1)", "data: bytes = response.read()"),
            "downloads:no_more_than_the_pinned_size_is_read",
        ),
        (
            "X05", "a message from a server keeps its control characters",
            ('c if c.isprintable() else " "', "c"), _REFUSED,
        ),
        (
            "X06", "content is written before it is checked",
            ("    check_pinned(data, pin, pin.url)\n"
             "    if path is not None:\n"
             "        write_cached(path, data)\n",
             "    if path is not None:\n"
             "        write_cached(path, data)\n"
             "    check_pinned(data, pin, pin.url)\n"), _REFUSED,
        ),
    ),
    *listed(
        "files/locks.py",
        (
            "X10", "two runs hold one lock",
            ("fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB"),
            "durability:a_lock_is_held_once_and_given_back",
        ),
        (
            "X11", "a file system without locks is silent",
            ("        if handle < 0:\n", "        if handle < -1:\n"),
            "durability:a_file_system_without_locks_says_so",
        ),
        (
            "X12", "the file of a lock stays",
            ("            os.unlink(path)\n    os.close(handle)\n",
             "            pass\n    os.close(handle)\n"),
            "durability:a_lock_is_held_once_and_given_back",
        ),
    ),
    *listed(
        "files/durable.py",
        (
            "X15", "where there are no links an earlier checkpoint is not kept",
            ("            shutil.copyfileobj(source, file, BLOCK)\n", "            pass\n"),
            "durability:a_file_system_without_links_gets_copies",
        ),
        (
            "X16", "a file that ends early is taken for another kind of damage",
            ("if size <= len(UNSEALED) or not end.startswith(COMMENT):",
             "if size <= len(UNSEALED):"), "reading:a_file_of_another_kind_is_not_called_damaged",
        ),
    ),
    *listed(
        "files/reading.py",
        (
            "X20", "a file of exactly the limit is refused",
            ("    if len(data) > limit:\n", "    if len(data) >= limit:\n"),
            "reading:a_limit_is_the_most_that_is_read",
        ),
        (
            "X21", "more than the limit is read",
            ("file.read(limit + 1)", "file.read()[: limit + 1]"),
            "reading:a_limit_is_the_most_that_is_read",
        ),
        (
            "X22", "a read that comes in parts ends after the first",
            ("        view = view[count:]\n", "        return len(view) - count and 0\n"),
            "reading:a_read_that_comes_in_parts_goes_on",
        ),
        (
            "X23", "the end of a file is not noticed",
            ("    return len(view)\n", "    return 0\n"),
            "reading:a_read_that_comes_in_parts_goes_on",
        ),
        (
            "X24", "a JSON list counts as an object",
            ("    if not isinstance(value, dict):\n",
             "    if not isinstance(value, dict | list):\n"),
            "reading:json_that_is_no_object_is_refused",
        ),
    ),
    *listed(
        "files/pickles.py",
        (
            "X30", "an instruction that is not known is passed over",
            ("elif name not in _IGNORED:", "elif name is None:"),
            "pickles:an_instruction_that_builds_no_plain_value_is_refused_by_name",
        ),
        (
            "X31", "values below a mark are taken",
            ("if start < (self.marks[-1] if self.marks else 0):", "if start < 0:"), _PICKLE,
        ),
        (
            "X32", "a tuple may be a key",
            ("        if not isinstance(key, _KEYS):\n",
             "        if not isinstance(key, (*_KEYS, tuple)):\n"),
            "pickles:a_tuple_is_no_key",
        ),
        (
            "X33", "bytes after the end are ignored",
            ("    if position + 1 != len(data):\n", "    if position > len(data):\n"), _PICKLE,
        ),
        (
            "X34", "integers of any length are read",
            ("value.bit_length() > 64:", "value.bit_length() < 0:"),
            "pickles:huge_integers_are_refused_quickly",
        ),
        (
            "X35", "what is remembered has the number of the next",
            ("self.memo[len(self.memo) if argument is None else argument]",
             "self.memo[len(self.memo) + 1 if argument is None else argument]"),
            "pickles:a_shared_value_stays_shared",
        ),
    ),
    *listed(
        "files/zip_archives.py",
        (
            "X40", "members may be compressed",
            ("item.compress_type != zipfile.ZIP_STORED or item.compress_size != item.file_size:",
             "item.compress_size < 0:"),
            "reading:members_of_archives_are_plain_disjoint_and_of_different_names[compressed]",
        ),
        (
            "X41", "members may overlap",
            ("        if item.header_offset < end:\n", "        if item.header_offset < 0:\n"),
            "reading:members_do_not_overlap",
        ),
        (
            "X42", "two members may have one name",
            ("        if item.filename in names:\n", "        if item.filename in ():\n"),
            "reading:members_of_archives_are_plain_disjoint_and_of_different_names[twice]",
        ),
        (
            "X43", "a member's place is not where its header is",
            ("start = member.header_offset + 30 + sum(lengths)",
             "start = member.header_offset + 30"),
            "reading:a_members_content_begins_after_its_header",
        ),
    ),
]  # fmt: skip

CONFIG = [
    *listed(
        "config/fields.py",
        (
            "X50", "an exclusive bound is allowed",
            ('("greater than", operator.gt)', '("greater than", operator.ge)'), _RANGE,
        ),
        (
            "X51", "an upper bound is allowed",
            ('("less than", operator.lt)', '("less than", operator.le)'), _RANGE,
        ),
        (
            "X52", "a largest value is no bound",
            ('("at most", operator.le)', '("at most", operator.ne)'), _RANGE,
        ),
        (
            "X53", "a choice may be any string",
            ("(choices and value not in choices)", "(choices and not value)"), _RANGE,
        ),
        (
            "X54", "1 is True",
            ("type(value) is not item.type", "not isinstance(value, (item.type, int))"), _RANGE,
        ),
    ),
    *listed(
        "config/model.py",
        (
            "X55", "heads that do not divide the channels are accepted",
            ("if self.n_embd % self.n_head:", "if self.n_embd < self.n_head:"),
            "config:channels_that_heads_do_not_share_evenly_are_refused_with_a_number_that_works",
        ),
        (
            "X56", "the advice is not divisible either",
            ("-(-self.n_embd // self.n_head) * self.n_head", "self.n_embd + self.n_head"),
            "config:channels_that_heads_do_not_share_evenly_are_refused_with_a_number_that_works",
        ),
    ),
    *listed(
        "config/presets.py",
        (
            "X57", "the learning rate of a preset decays over the default's iterations",
            ('"lr_decay_iters": sizes[-1]}', '"lr_decay_iters": 600_000}'),
            "config:presets_of_nanogpt_have_its_values",
        ),
        (
            "X58", "two columns of the presets change places",
            ("n_layer n_head n_embd block_size batch_size dropout",
             "n_layer n_head n_embd batch_size block_size dropout"),
            "config:presets_of_nanogpt_have_its_values",
        ),
    ),
]  # fmt: skip

CLI = [
    *listed(
        "cli/settings.py",
        (
            "X60", "earlier words win",
            ("        values |= given\n", "        values = given | values\n"),
            "settings:later_words_win_over_earlier_ones",
        ),
        (
            "X61", "1e3 is no integer",
            ('if kind is float or "e" in text.lower()', "if kind is float"), _FLAG,
        ),
        (
            "X62", "--bias=0 is True",
            ('"false": False, "0": False', '"false": False, "0": True'), _FLAG,
        ),
        (
            "X63", "4.5 layers are 4",
            ("type(value) is float and value.is_integer():", "type(value) is float:"), _WORD,
        ),
        (
            "X64", "infinity is a number",
            ("(kind is float and not math.isfinite(value))", "(kind is float and value != value)"),
            _WORD,
        ),
        (
            "X67", "an unknown setting in a file is ignored",
            ('    if key not in types:\n        raise InputError(f"{where}: unknown',
             '    if not key:\n        raise InputError(f"{where}: unknown',
             'return _of_type(f"{where}: {key}={shown(value)}", value, types[key])',
             'return value if key not in types else _of_type(f"{where}:'
             ' {key}={shown(value)}", value, types[key])'), _TOML,
        ),
        (
            "X68", "a table in a TOML file is a setting",
            ("        if isinstance(value, dict):\n", "        if isinstance(value, set):\n"),
            _TOML,
        ),
        (
            "X69", "the vocabulary is that of the first preset",
            ("vocabularies[-1] if vocabularies", "vocabularies[0] if vocabularies"),
            "options:a_shape_has_the_vocabulary_of_its_last_preset",
        ),
        (
            "X70", "a name is passed over by a command that takes flags alone",
            ('    if names:\n        raise InputError(f"{command} takes',
             '    if not command:\n        raise InputError(f"{command} takes'),
            "options:a_command_of_flags_takes_no_names",
        ),
    ),
    *listed(
        "cli/options.py",
        (
            "X71", "a page takes keep, and shows everything all the same",
            ('if self.html and self.keep != "*":', 'if not self.html and self.keep != "*":'),
            "options:settings_that_exclude_each_other_are_refused",
        ),
        (
            "X72", "a model of no name is opened",
            ("        if not self.init_from:\n", "        if self.init_from is None:\n"), _RANGE,
        ),
    ),
    *listed(
        "cli/prompts.py",
        (
            "X73", "words that are no numbers are left out",
            ("int(word) for word in text.split()]",
             "int(word) for word in text.split() if word.isdecimal()]"),
            "options:a_prompt_without_a_tokenizer_is_numbers",
        ),
    ),
    *listed(
        "cli/main.py",
        (
            "X75", "no threads at all are accepted",
            ("1 <= int(text) <= 1024:", "int(text) <= 1024:"),
            "options:threads_are_a_number_of_threads",
        ),
        (
            "X76", "train takes a vocabulary size, which the data has",
            ('without=["vocab_size"] if command == "train" else []',
             'without=["vocab_size"] if command == "bench" else []'),
            "options:train_takes_no_vocabulary_size",
        ),
        (
            "X77", "help shows the defaults of GPT-2 for all commands",
            ('{"train": NANOGPT_DEFAULTS, "gradcheck": GRADCHECK_MODEL}.get(\n'
             "            command, shape_of([DEFAULT_PRESET])\n"
             "        )",
             "{}.get(\n            command, {}\n        )"),
            "options:help_shows_the_defaults_of_the_command",
        ),
    ),
]  # fmt: skip

CHECKS = [
    *listed(
        "gradients/plan.py",
        (
            "X80", "large models are checked at 256 positions",
            ("256 if n_params < LARGE else 128", "256"), _CHOSEN,
        ),
        (
            "X81", "every model is checked by elements",
            ('if method == "elements" or seconds <= BUDGET_SECONDS:\n            what',
             "if seconds > 0:\n            what"), _CHOSEN,
        ),
        (
            "X82", "directions are checked on the whole batch",
            ('return _plan("directions", few, what',
             'return _plan("directions", (tokens, targets), what'), _CHOSEN,
        ),
        (
            "X83", "elements are checked on the first sequence alone",
            ('return _plan("elements", (tokens, targets), what',
             'return _plan("elements", few, what'), _CHOSEN,
        ),
    ),
    *listed(
        "gradients/oracles.py",
        (
            "X85", "a moved parameter stays moved in the oracle",
            ("            param.imag[...] = 0\n", "            pass\n"),
            "measured:measuring_leaves_no_trace",
        ),
        (
            "X86", "a moved parameter stays moved in the model",
            ("                self.hand.params[name][...] = value\n",
             "                self.hand.params[name][...] = value + 1e-12\n"),
            "measured:measuring_leaves_no_trace",
        ),
        (
            "X87", "the difference of a tensor is its smallest",
            ("np.abs(twins.hand.grads[name] - exact).max())",
             "np.abs(twins.hand.grads[name] - exact).min())"), _ONE,
        ),
        (
            "X88", "contributions are divided by all positions",
            ("imag / (STEP * kept)", "imag / (STEP * np.size(twins.targets))"),
            "measured:contributions_of_the_positions_add_up_to_the_gradient",
        ),
        (
            "X89", "a slope is compared with itself alone",
            ("max(abs(exact), _norm(direction, grad))", "abs(exact)"),
            "measured:a_slope_that_is_small_by_chance_is_measured_by_the_norm",
        ),
        (
            "X90", "every block is a kind of its own",
            ('"*" if part.isdigit() else part', '"*" if part.isalpha() else part'),
            "measured:kinds_group_blocks_and_nothing_else",
        ),
        (
            "X91", "of each kind one tensor is checked by differences",
            ("        for name in names:\n"
             "            directions = _scaled_directions(twins.hand, [name], rng)\n",
             "        for name in names[:1] * len(names):\n"
             "            directions = _scaled_directions(twins.hand, [name], rng)\n",
             "return {name: measured[name] for name in twins.hand.params}",
             "return {name: measured.get(name, Measured(0.0, 1.0)) for name in"
             " twins.hand.params}"), _ONE,
        ),
    ),
    *listed(
        "gradients/derivatives.py",
        (
            "X92", "a difference is one-sided",
            ("(function(step) - function(-step)) / (2 * step)",
             "(function(step) - function(0)) / step"), "measured:differences_have_their_order",
        ),
        (
            "X93", "extrapolation with the wrong weights",
            ("(4 * central(function, step / 2) - central(function, step)) / 3",
             "(2 * central(function, step / 2) - central(function, step)) / 1"),
            "measured:differences_have_their_order",
        ),
        (
            "X94", "a step at which nothing is a number is the best",
            ("np.where(np.isnan(gaps), np.inf, gaps)", "np.where(np.isnan(gaps), 0, gaps)"),
            "measured:differences_have_their_order",
        ),
    ),
    *listed(
        "gradients/model_check.py",
        (
            "X95", "a gradient that is not a number is right",
            ("if not error <= tolerance]\n    # Backward", "if error > tolerance]\n    # Backward"),
            _NOT_FINITE,
        ),
        (
            "X96", "a tensor without a gradient is compared with its own rounding",
            ("scales = {name: scale_of(found.scale, largest)",
             "scales = {name: scale_of(found.scale, 0.0)"),
            "measured:a_tensor_without_a_gradient_is_compared_with_the_largest",
        ),
        (
            "X97", "a kind whose differences are not a number agrees",
            ("        if not error <= TOLERANCE_OF_DIFFERENCES\n",
             "        if error > TOLERANCE_OF_DIFFERENCES\n"), _KINDS,
        ),
        (
            "X98", "the first wrong tensor is where to look",
            ("last = rows[wrong[-1]].name", "last = rows[wrong[0]].name"),
            "gradcheck:it_says_where_to_look",
        ),
        (
            "X99", "vectors of a check are as a new model has them",
            ("param[...] = 0.5 * noise + (1", "param[...] = 0 * noise + (1"),
            "measured:parameters_of_a_check_hide_nothing",
        ),
    ),
    *listed(
        "gradients/report.py",
        (
            "X100", "one right tensor makes a report right",
            ('"""Whether every tensor\'s gradient is right."""\n        return all(',
             '"""Whether every tensor\'s gradient is right."""\n        return any('),
            "measured:the_report_counts_what_is_wrong",
        ),
        (
            "X101", "an error that is not a number is not the worst",
            ("math.inf if math.isnan(row.error) else row.error", "row.error"), _NOT_FINITE,
        ),
        (
            "X102", "JSON holds NaN",
            ("return value if math.isfinite(value) else None", "return value"), _NOT_FINITE,
        ),
        (
            "X103", "a wrong report asserts nothing",
            ("        if not self.ok:\n            raise",
             "        if not self.rows:\n            raise"),
            "gradcheck:a_wrong_tensor_is_named_and_explained",
        ),
    ),
    *listed(
        "gradients/diagnosis/misplaced.py",
        (
            "X110", "a transpose of the wrong sign is not found",
            ("elif grad.same(grad.hand, -turned):", "elif grad.same(grad.hand, turned):"), _NAMED,
        ),
        (
            "X111", "late and early change places",
            ('"late" if by == 1 else "early"', '"early" if by == 1 else "late"'), _NAMED,
        ),
        (
            "X112", "the mean is called a sum",
            ('("mean", grad.exact.mean(axis))', '("sum", grad.exact.mean(axis))'), _NAMED,
        ),
        (
            "X113", "query, key and value are compared with themselves",
            ("if name != other and grad.enough_in", "if name == other and grad.enough_in"), _NAMED,
        ),
        (
            "X114", "any order of the heads is a wrong one",
            ("if grad.same(grad.hand, by_position) or grad.same(grad.hand, by_head):",
             "if n_head:"), _NEARLY,
        ),
    ),
    *listed(
        "gradients/diagnosis/missing.py",
        (
            "X115", "an array too much is called missing",
            ("if grad.same(grad.missing, array):", "if grad.same(grad.missing, -array):"), _NAMED,
        ),
        (
            "X116", "the lost and the doubled are the same",
            ("if not lost.any():", "if lost.any():"), _NAMED,
        ),
        (
            "X117", "targets that do not count may have a gradient",
            ("(~kept).any() and zero[~kept].all() and grad.wrong[~kept].any():",
             "(~kept).any() and zero[kept].all() and grad.wrong[~kept].any():"), _NAMED,
        ),
        (
            "X118", "rows of tokens that occur once are called those that occur several times",
            ("if np.array_equal(wrong, times > 1):", "if np.array_equal(wrong, times == 1):"),
            _NAMED,
        ),
        (
            "X119", "a sum over the row is said to be missing whatever its multiple",
            ("if square.any() and grad.same(missing, share * base):", "if square.any():"), _NEARLY,
        ),
    ),
    *listed(
        "gradients/diagnosis/factors.py",
        (
            "X120", "a factor is named on any gradient",
            ("        if grad.same(hand, c * exact):\n", "        if c:\n"), _NEARLY,
        ),
        (
            "X121", "the inverse of a factor is named",
            ("if abs(size / n**power - 1) < RELATIVE:", "if abs(size * n**power - 1) < RELATIVE:"),
            _NAMED,
        ),
        (
            "X122", "a factor too many is called missing",
            ("if grad.same(grad.hand * spread, grad.exact):",
             "if grad.same(grad.exact * spread, grad.hand):"), _NAMED,
        ),
    ),
    *listed(
        "gradients/diagnosis/diagnose.py",
        (
            "X123", "one element that is not finite is overlooked",
            ("    if not np.isfinite(hand).all():\n", "    if not np.isfinite(hand).any():\n"),
            "diagnosis:one_element_that_is_not_finite_is_counted",
        ),
        (
            "X124", "wrong rows are not looked at alone",
            ("    if grad.wrong.all():\n        return []\n",
             "    if grad.wrong.any():\n        return []\n"), _NAMED,
        ),
    ),
    *listed(
        "gradients/diagnosis/regions.py",
        (
            "X125", "ranges join across a gap",
            ("np.diff(indices) > 1", "np.diff(indices) > 2"),
            "diagnosis:indices_are_shown_as_ranges",
        ),
        (
            "X126", "names of axes that are known are not used",
            ("if len(grad.clues.axes) == grad.exact.ndim:", "if False:"),
            "diagnosis:axes_have_the_names_that_are_known",
        ),
    ),
    *listed(
        "gradients/diagnosis/wrong_gradient.py",
        (
            "X127", "an element that is not a number is right",
            ("~(np.abs(self.hand - self.exact) <= self.tolerance * self.scale)",
             "np.abs(self.hand - self.exact) > self.tolerance * self.scale"),
            "diagnosis:an_element_that_is_not_a_number_is_wrong",
        ),
    ),
]  # fmt: skip

MORE_FILES = [
    *listed(
        "files/downloads.py",
        (
            "X07", "any file that pip leaves is the wheel",
            ("        if not path.is_file():\n", "        if not os.listdir(folder):\n"),
            "downloads:a_wheel_that_is_not_the_pinned_one_is_refused",
        ),
        (
            "X08", "pip's failure is not looked at",
            ("    if done.returncode == 0:\n", "    if done.returncode >= 0:\n"),
            "downloads:a_wheel_that_is_not_the_pinned_one_is_refused",
        ),
    ),
    *listed(
        "files/durable.py",
        (
            "X17", "nothing is flushed to the disk",
            ("    os.fsync(handle)\n", "    pass\n"), "flushed",
        ),
        (
            "X18", "a pipe is replaced by a file",
            ("if path.exists() and (not path.is_file() or _is_a_handle(path)):",
             "if path.exists() and _is_a_handle(path):"),
            "durable:a_pipe_or_a_folder_is_not_replaced_by_a_file",
        ),
        (
            "X19", "a link of the system to an open file is replaced",
            ('startswith(("/dev/", "/proc/"))', 'startswith("/dev/")'),
            "durable:a_link_of_the_system_to_an_open_file_is_not_replaced",
        ),
    ),
    *listed(
        "files/locks.py",
        (
            "X13", "a file system without locks looks like another run",
            ("        if held is None:\n", "        if held is path:\n"),
            "durability:a_file_system_without_locks_says_so",
        ),
    ),
    *listed(
        "files/pickles.py",
        (
            "X36", "integers are written without a bit for their sign",
            ("value.bit_length() // 8 + 1", "max(1, (value.bit_length() + 7) // 8)"),
            "interop:python_unpickles_what_is_pickled_here",
        ),
        (
            "X37", "a mark that is not there is at the beginning",
            ('            raise InputError("there is no mark")\n',
             "            self.marks.append(0)\n"), _PICKLE,
        ),
        (
            "X38", "a value is added to nothing and lost",
            ('raise InputError(f"there is no {kind.__name__} to add to")',
             "self.stack.append(kind())"),
            "pickles:a_value_is_added_to_what_takes_it",
        ),
    ),
    *listed(
        "files/reading.py",
        (
            "X25", "an error has no advice",
            ('f"{message}; {advice}" if advice else message', "message"),
            "downloads:a_folder_that_cannot_be_written_is_named_with_the_fix",
        ),
    ),
    *listed(
        "files/zip_archives.py",
        (
            "X44", "a list of members of any size is read",
            ("            if size > self.limit:\n",
             "            if size < 0:\n"),
            "reading:a_list_of_members_is_bounded",
        ),
    ),
]  # fmt: skip

MORE_SETTINGS = [
    *listed(
        "config/fields.py",
        (
            "X59", "the largest integer is not named",
            ('bounds.setdefault("below", "2^64")', "pass"),
            "config:messages_say_what_a_value_must_be",
        ),
    ),
    *listed(
        "config/train.py",
        (
            "X49", "a run may have no folder",
            ("        if not self.out_dir:\n",
             "        if self.out_dir is None:\n"), _RANGE,
        ),
    ),
    *listed(
        "cli/settings.py",
        (
            "X45", "settings that a command does not take are taken",
            ("if field.name not in without}", "if field.name}"),
            "options:train_takes_no_vocabulary_size",
        ),
        (
            "X47", "a setting with one dash is not recognised",
            ('if name.replace("-", "_") in types:', "if not name:"), _WORD,
        ),
        (
            "X74", "a shape has settings of training",
            ("for name, value in values.items() if name in names}",
             "for name, value in values.items()}"),
            "options:a_shape_has_the_vocabulary_of_its_last_preset",
        ),
    ),
    *listed(
        "cli/main.py",
        (
            "X78", "a loss that is not finite is bad input",
            ("return _fail(str(error), NOT_FINITE)", "return _fail(str(error), BAD_INPUT)"),
            "main:every_end_has_its_status",
        ),
        (
            "X79", "-h is a setting",
            ('if "-h" in given or "--help" in given:', 'if "--help" in given:'),
            "options:help_is_asked_for_in_four_ways",
        ),
        (
            "X135", "a preset without a command is not explained",
            ('if command in presets_for(types_of("train")) or command.startswith("--"):',
             'if command.startswith("--"):'),
            "options:a_preset_is_no_command",
        ),
        (
            "X136", "help names no presets",
            ("    if sources == _MODEL:\n", '    if sources == "":\n'),
            "options:help_shows_the_defaults_of_the_command",
        ),
        (
            "X137", "characters that the terminal lacks end the command",
            ("if isinstance(sys.stdout, io.TextIOWrapper):", "if isinstance(sys.stdout, str):"),
            "main:characters_that_the_terminal_does_not_have_are_escaped",
        ),
    ),
]  # fmt: skip

MORE_CHECKS = [
    *listed(
        "gradients/diagnosis/clues.py",
        (
            "X140", "layers: numbers that do not count are counted",
            ("int((value >= 0).sum())", "value.size"), "diagnosis:clues_are_what_may_be_a_factor",
        ),
        (
            "X141", "models: targets that do not count are counted",
            ("kept = int((targets >= 0).sum())", "kept = targets.size"),
            "diagnosis:clues_are_what_may_be_a_factor",
        ),
    ),
    *listed(
        "gradients/diagnosis/diagnose.py",
        (
            "X142", "no hypothesis is heard",
            ("        if found:\n            return found\n",
             "        if not found:\n            return found\n"), _NAMED,
        ),
        (
            "X143", "the parts that are right are diagnosed",
            ("        if part.wrong.any():\n", "        if not part.wrong.any():\n"), _NAMED,
        ),
    ),
    *listed(
        "gradients/diagnosis/diagnose.py",
        (
            "X164", "the ratio of the lengths is upside down",
            ("{hand / exact:.6g} times", "{exact / hand:.6g} times"),
            "diagnosis:what_has_no_name_is_compared_as_a_whole",
        ),
    ),
    *listed(
        "gradients/diagnosis/wrong_gradient.py",
        (
            "X165", "known mistakes are not looked for in a part",
            ("{text: array[index] for text, array in clues.named.items()}", "{}"), _NAMED,
        ),
    ),
    *listed(
        "gradients/diagnosis/missing.py",
        (
            "X144", "what is counted twice is not seen",
            ("doubled = np.abs(weights - 2) < 1e-6", "doubled = np.abs(weights - 2) < 0"), _NAMED,
        ),
        (
            "X145", "weights that do not give the gradient are believed",
            ("if rank < len(used) or not grad.same(found @ used, grad.hand.reshape(-1)):",
             "if rank < len(used):\n"
             "        return None\n"
             "    found = np.rint(found)\n"
             "    if not len(found):"), _NEARLY,
        ),
        (
            "X146", "one of many positions that is lost is not found",
            ("if grad.same(grad.missing.reshape(-1), part):",
             "if grad.same(grad.missing.reshape(-1), -part):"), _NAMED,
        ),
        (
            "X147", "a position has one number, not two",
            ("    if mask.ndim == 1:\n", "    if mask.ndim:\n"), _NAMED,
        ),
    ),
    *listed(
        "gradients/diagnosis/regions.py",
        (
            "X148", "one wrong element is all",
            ("    if wrong.all():\n", "    if wrong.any():\n"), "gradcheck:regions_are_named",
        ),
        (
            "X149", "heads are not looked at one by one",
            ('"" if by_head.all() else', '"" if by_head.any() else'), "gradcheck:regions_are_named",
        ),
        (
            "X150", "several rows are one row",
            ("if indices.size > 1 else name", "if indices.size > 9 else name"),
            "gradcheck:regions_are_named",
        ),
    ),
    *listed(
        "gradients/diagnosis/wrong_gradient.py",
        (
            "X151", "arrays of another kind are looked at",
            ("array.dtype.kind in kinds:", 'array.dtype.kind in "fiu":'),
            "diagnosis:arrays_are_chosen_by_kind",
        ),
        (
            "X152", "what is roughly equal is equal",
            ("<= self.match)", "<= 1e9 * self.match)"), _NEARLY,
        ),
        (
            "X153", "one element is enough for a hypothesis",
            (".sum()) >= elements", ".sum()) >= 1"), "diagnosis:one_element_proves_nothing",
        ),
        (
            "X154", "the query's third ends where the key's does",
            ("slice(k * C, (k + 1) * C)", "slice(k * C, (k + 2) * C)"), _NAMED,
        ),
    ),
    *listed(
        "gradients/model_check.py",
        (
            "X155",
            "differences have to be as exact as the complex step",
            ("tolerance = max(tolerance, TOLERANCE_OF_DIFFERENCES)",
             "tolerance = tolerance * 1.0"),
            "measured:differences_have_a_tolerance_of_their_own",
        ),
    ),
    *listed(
        "gradients/model_diagnosis.py",
        (
            "X156", "a gradient of zero is not called missing",
            ("    if not hand.any():\n", "    if hand is None:\n"),
            "gradcheck:a_wrong_tensor_is_named_and_explained",
        ),
        (
            "X157", "the halves of the tied table are one",
            ("missing = exact - _through_stage", "missing = 0 * exact + _through_stage"),
            "gradcheck:mistakes_of_the_tied_table_are_named",
        ),
        (
            "X158", "any two ratios are equal",
            ("if abs(ratios[0] - ratios[1]) <= SAME * abs(ratios[0]):", "if abs(ratios[0]) >= 0:"),
            "gradcheck:a_wrong_tensor_is_named_and_explained",
        ),
        (
            "X159", "query, key and value are moved together",
            ("mask[k * C : (k + 1) * C] = 1", "mask[:] = 1"),
            "gradcheck:a_wrong_tensor_is_named_and_explained",
        ),
    ),
    *listed(
        "gradients/oracles.py",
        (
            "X160", "differences through the model never disagree",
            ("found[kind] = (abs(hand - slope.value) / scale,",
             "found[kind] = (slope.error / scale,"),
            "measured:a_kind_with_a_wrong_gradient_is_measured",
        ),
        (
            "X161", "a tensor of zeros is not moved",
            ("), 0.02)", "), 0.0)"), "measured:a_tensor_of_zeros_is_moved",
        ),
    ),
    *listed(
        "gradients/plan.py",
        (
            "X162", "a mask is said to be fixed where there is none",
            ("if rate and key is not None else", "if rate else"),
            "measured:a_plan_says_what_is_done",
        ),
    ),
    *listed(
        "gradients/report.py",
        (
            "X163", "right and wrong change places",
            ('"exact" if row.ok else "WRONG"',
             '"WRONG" if row.ok else "exact"'),
            "measured:the_report_counts_what_is_wrong",
        ),
    ),
]  # fmt: skip

ELSEWHERE = [
    *listed(
        "cli/python_files.py",
        (
            "X65", "a minus sign in a file is lost",
            ("return -value if isinstance(sign, ast.USub) else value", "return value"),
            "options:numbers_of_files_have_their_signs_and_quotients",
        ),
        (
            "X66", "an exponent is larger than the largest",
            ("not abs(right) <= _LARGEST_EXPONENT:", "not abs(right) <= _LARGEST_EXPONENT + 1:"),
            "options:numbers_of_files_have_their_signs_and_quotients",
        ),
        (
            "X46", "a message is as long as the word",
            ("return text if len(text) <= _SHOWN and line == text else",
             "return text if len(text) > 0 else"), _WORD,
        ),
        (
            "X48", "settings of wandb must be literals",
            ('if key.startswith("wandb_"):', 'if key.startswith("wandb-"):'),
            "settings:a_nanogpt_file_is_read_as_data",
        ),
    ),
]  # fmt: skip

MISTAKES = [*FILES, *CONFIG, *CLI, *CHECKS, *MORE_FILES, *MORE_SETTINGS, *MORE_CHECKS, *ELSEWHERE]
