"""Mistakes in what everything stands on, and at the edge of a command: its words and its end."""

from tests.mutations.mistake import listed

_LIMITS = "limits:limits_of_control_groups"
_WISH = "limits:omp_num_threads_is_a_wish_for_fewer"
_VARIABLE = "limits:a_variable_that_keeps_kernels_from_running_is_named"
_CACHES = "cache_folder:every_system_has_its_own_folder_for_caches"
_LARGE = "values:a_large_value_is_shown_at_once"
_MODEL = "copies:assigning_what_a_model_would_ignore_is_refused"
_NAMED = "copies:a_named_array_is_written_not_replaced"
_PACE = "progress:the_pace_is_that_of_all_units_but_the_first"
_ENVIRONMENT = "durability:what_bits_depend_on_is_recorded_and_compared"
_CODE = "settings:what_is_no_literal_is_refused_with_its_line_and_never_run"
_KEPT = "texts:a_text_that_cannot_be_kept_is_used_all_the_same"
_LAST = "ending:output_that_is_lost_is_an_error_unless_the_run_was_interrupted"
_PIPES = "inputs:texts_come_through_pipes_of_the_shell"
_SPLIT = "options:names_and_flags_are_told_apart_and_a_tilde_is_expanded"

MACHINE = [
    *listed(
        "base/cgroups.py",
        (
            "U01", "the limit of an ancestor does not count",
            ("for part in [group, *group.parents])", "for part in [group])"), _LIMITS,
        ),
        (
            "U02", "of several limits the loosest counts",
            ('_groups("memory")]\n    return min(found',
             '_groups("memory")]\n    return max(found'), _LIMITS,
        ),
        (
            "U03", "version 1 divides the period by the quota",
            ('        quota, period = _text(folder / "cpu.cfs_quota_us"), '
             '_text(folder / "cpu.cfs_period_us")\n',
             '        period, quota = _text(folder / "cpu.cfs_quota_us"), '
             '_text(folder / "cpu.cfs_period_us")\n'), _LIMITS,
        ),
        (
            "U04", "a hierarchy of two controllers is not found by one of them",
            ('if controller not in controllers.split(","):', "if controller != controllers:"),
            _LIMITS,
        ),
        (
            "U05", "a file that is no text ends the program",
            ("    except (OSError, ValueError):\n", "    except OSError:\n"), _LIMITS,
        ),
        (
            "U06", 'the limit "max" is a number',
            ("return int(text) if text.isdigit() else", "return int(text) if text else"), _LIMITS,
        ),
        (
            "U07", "a quota of -1 processors is less than one",
            ("    if quota.isdigit() and period.isdigit() and int(quota) and int(period):\n",
             '    if quota.lstrip("-").isdigit() and period.isdigit():\n'), _LIMITS,
        ),
    ),
    *listed(
        "base/threads.py",
        (
            "U10", "half a processor is no thread",
            ("return max(1, math.floor(min(len(cores), processor_quota())))",
             "return math.floor(min(len(cores), processor_quota()))"),
            "limits:threads_are_as_many_as_the_quota_lets_run",
        ),
        (
            "U11", "a wish for more threads than cores is fulfilled",
            ("return min(physical_cores(), int(first) if first.isdigit() and int(first) else"
             " sys.maxsize)",
             "return int(first) if first.isdigit() and int(first) else physical_cores()"), _WISH,
        ),
        (
            "U12", "a wish for nested loops is none",
            ('os.environ.get("OMP_NUM_THREADS", "").split(",")[0]',
             'os.environ.get("OMP_NUM_THREADS", "")'), _WISH,
        ),
        (
            "U13", "without the compiler the kernels are run as Python",
            ('    if disabled not in ("", "0"):\n', '    if disabled == "yes":\n'), _VARIABLE,
        ),
        (
            "U14", "a pool of no threads is made",
            ("    if not threads.isdigit() or not int(threads):\n",
             "    if not threads.isdigit():\n"), _VARIABLE,
        ),
    ),
    *listed(
        "base/environment.py",
        (
            "U15", "a resumed run warns of another Python, which changes no bit",
            ('if name in before and name != "python"]', "if name in before]"), _ENVIRONMENT,
        ),
        (
            "U16", "the bits of the kernels depend on the threads of the BLAS",
            ('    else:\n        found["threads of the BLAS"]',
             '    if ops:\n        found["threads of the BLAS"]'),
            "durability:threads_change_the_bits_of_the_blas_alone",
        ),
    ),
    *listed(
        "base/cache_folder.py",
        (
            "U17", "a relative XDG_CACHE_HOME counts",
            ("        if os.path.isabs(xdg):", "        if xdg:"), _CACHES,
        ),
        (
            "U18", "the folder that was chosen gives way to that of the system",
            ("        if chosen:\n", "        if chosen and not xdg:\n"), _CACHES,
        ),
        (
            "U19", "a missing home folder is a traceback",
            ("    except RuntimeError:", "    except OSError:"),
            "cache_folder:without_a_home_folder_the_message_names_the_variable_to_set",
        ),
    ),
]  # fmt: skip

VALUES = [
    *listed(
        "base/checks.py",
        (
            "U20", "all of a large value is printed before it is cut",
            ("repr(_beginning(value, iter(range(_SHOWN))))", "repr(value)"), f"{_LARGE}[lists]",
        ),
        (
            "U21", "every list within a list has a budget of its own",
            ("return type(value)(_beginning(item, budget) for item, _ in zip(",
             "return type(value)(_beginning(item, iter(range(_SHOWN))) for item, _ in zip("),
            f"{_LARGE}[itself]",
        ),
        (
            "U22", "an integer of thousands of digits cannot be shown",
            ("    except ValueError:", "    except TypeError:"), f"{_LARGE}[integer]",
        ),
        (
            "U23", "True is an integer",
            ("return isinstance(value, numbers.Integral) and not isinstance(value, bool)",
             "return isinstance(value, numbers.Integral)"),
            "values:a_bool_is_no_number_and_an_integer_may_be_of_numpy",
        ),
        (
            "U24", "2^64 is a word of 64 bits",
            ("if not is_integer(value) or not low <= value < below:",
             "if not is_integer(value) or not low <= value <= below:"),
            "batches:a_seed_or_step_out_of_range_is_named",
        ),
        (
            "U25", "an integer beyond all floats is a traceback",
            ("        except OverflowError:\n", "        except TypeError:\n"),
            "values:numbers_are_finite_and_allowed",
        ),
        (
            "U26", "infinity is allowed where a bound allows it",
            ('if abs(number) < float("inf") and allowed(number):', "if allowed(number):"),
            "values:numbers_are_finite_and_allowed",
        ),
        (
            "U27", "a path with a zero byte reaches the system",
            ('    if "\\0" in str(found) or len', "    if len"),
            "values:what_is_no_path_of_a_file_is_refused",
        ),
        (
            "U28", "a number is a path, that of an open file",
            ("if not isinstance(value, str | os.PathLike):",
             "if not isinstance(value, str | os.PathLike | int):",
             "found = Path(value)", "found = Path(str(value))"),
            "values:what_is_no_path_of_a_file_is_refused",
        ),
    ),
    *listed(
        "base/errors.py",
        (
            "U30", "many known names are listed, however many",
            ("    if len(known) > 20:\n", "    if len(known) > 2000:\n"), "settings:"
            "a_word_that_cannot_be_used_is_refused_with_the_fix",
        ),
        (
            "U31", "names that are nothing alike are suggested",
            ("cutoff=0.6", "cutoff=0.0"),
            "settings:a_word_that_cannot_be_used_is_refused_with_the_fix",
        ),
    ),
    *listed(
        "base/guarded.py",
        (
            "U32", "attributes of the class may be covered by assignments",
            ("known = name in self.__dict__ or hasattr(type(self), name)",
             "known = name in self.__dict__"), f"{_MODEL}[n_params-fixed]",
        ),
        (
            "U33", "an attribute that there is not may be assigned",
            ('        elif "_complete" in self.__dict__:\n', "        elif False:\n"),
            f"{_MODEL}[colour-no attribute 'colour']",
        ),
        (
            "U34", "adding in place is refused",
            ("name in self.__dict__ and self.__dict__[name] is value\n        )",
             "False\n        )"), _NAMED,
        ),
    ),
    *listed(
        "base/arrays.py",
        (
            "U35", "arrays begin anywhere",
            ("start = -raw.ctypes.data % ALIGNMENT", "start = 0"),
            "values:arrays_begin_at_a_cache_line",
        ),
        (
            "U36", "rows of unequal length are a traceback",
            ("    except (ValueError, TypeError, OverflowError) as error:\n",
             "    except (TypeError, OverflowError) as error:\n"),
            "values:rows_of_unequal_length_are_no_array",
        ),
    ),
    *listed(
        "base/progress.py",
        (
            "U37", "the time of the first unit, which compiles, counts as the pace",
            ("            self._first, self._start = self.done, time.perf_counter()\n",
             "            self._first, self._start = self.done - units, time.perf_counter()\n"),
            _PACE,
        ),
        (
            "U38", "60 seconds are not a minute",
            ("    rounded = round(seconds)\n", "    rounded = int(seconds)\n"),
            "progress:the_time_left_is_for_people",
        ),
        (
            "U39", "the time left is that of all units",
            ("(self.total - self.done))", "self.total)"), _PACE,
        ),
    ),
]  # fmt: skip

SIGNALS = [
    *listed(
        "base/signals.py",
        (
            "U40", "Ctrl-C alone is ignored while a command ends",
            ("    for kind in KINDS:\n        signal.signal(kind, signal.SIG_IGN)",
             "    for kind in KINDS[:1]:\n        signal.signal(kind, signal.SIG_IGN)"),
            "signals:they_can_be_ignored_from_a_handler",
        ),
    ),
    *listed(
        "cli/main.py",
        (
            "U41", "a second Ctrl-C cuts off the last message",
            ("    ignore_end_signals()\n    raise", "    raise"),
            "ending:after_the_first_signal_others_do_not_cut_off_the_last_message",
        ),
        (
            "U42", "output that is lost is no error",
            ("        if status != INTERRUPTED:\n            raise\n", ""), _LAST,
        ),
        (
            "U43", "an interrupted run fails where its terminal is gone",
            ("        if status != INTERRUPTED:\n            raise\n", "        raise\n"), _LAST,
        ),
        (
            "U44", "after a command signals are ignored in a program that goes on",
            ("restore=arguments is not None", "restore=arguments is None"),
            "main:signals_mean_afterwards_what_they_meant_before",
        ),
    ),
    *listed(
        "kernels/engine/crew.py",
        (
            "U45", "while one thread is wanted, all of them are launched",
            ("            with pool.fewer_threads(1):\n                launch(1)\n",
             "            launch(pool.threads())\n"), "crew",
        ),
        (
            "U46", "a window begins anew with every launch",
            ("        if self._started is None:\n            self._started = start",
             "        if start:\n            self._started = start"), "crew",
        ),
    ),
]  # fmt: skip

WORDS = [
    *listed(
        "cli/settings.py",
        (
            "U50", "a ~ without a home is a folder of that name",
            ('    if full == path and isinstance(path, str) and path.partition("/")[0] == "~":\n',
             "    if full is None:\n"), "inputs:a_tilde_without_a_home_is_refused",
        ),
        (
            "U51", "a file does not know the settings before it",
            ("        known |= given\n", "        known = given\n"),
            "settings:names_assigned_above_are_known_as_where_nanogpt_executes_the_file",
        ),
        (
            "U52", "a file after a preset has nanoGPT's defaults",
            (" and not any(word in PRESETS for word in words)\n", "\n"),
            "nanogpt_files:a_preset_stays_a_preset_below_a_file",
        ),
        (
            "U53", "a text that is named after a file is one of nanoGPT's",
            ('given.keys() & {"dataset", "data"}:', 'given.keys() & {"data"}:'),
            "options:a_data_set_is_one_of_nanogpt_where_a_file_names_it_last",
        ),
        (
            "U54", "a flag that ends in .py is a file",
            ('return word.endswith(".py") and not word.startswith("--")',
             'return word.endswith(".py")'),
            "options:a_flag_that_ends_in_py_is_no_file_of_nanogpt",
        ),
        (
            "U55", "the ~ of a name is not expanded",
            ('[expanded("path", word) for word in words if', "[word for word in words if"),
            _SPLIT,
        ),
        (
            "U56", "a name with = is a setting",
            ('flags = [word for word in words if word.startswith("--")]',
             'flags = [word for word in words if "=" in word]'), _SPLIT,
        ),
    ),
    *listed(
        "cli/python_files.py",
        (
            "U57", "a setting that is misspelt is a name for later lines",
            ("if isinstance(node.ctx, ast.Load)}", "if node.id}"), _CODE,
        ),
        (
            "U65", "a number too small for a float is 0 in a file",
            ("if rounded_to_zero(number, node.value):", "if False:"), _CODE,
        ),
    ),
    *listed(
        "data/prepare.py",
        (
            "U58", "a pipe that was copied is read again itself",
            ("        yield regular\n", "        yield files\n"), _PIPES,
        ),
        (
            "U59", "byte pairs are made of blocks, which end within words",
            ("        if isinstance(tokenizer, BPETokenizer):\n            yield from",
             "        if tokenizer.vocab_size < 0:\n            yield from"),
            "prepare:documents_are_separated_by_the_end_of_text_token",
        ),
    ),
    *listed(
        "files/downloads.py",
        (
            "U60", "a damaged file of the cache is an error",
            ("    except (OSError, InputError):\n        return None\n    return data",
             "    except OSError:\n        return None\n    return data"),
            "texts:a_damaged_cached_file_is_downloaded_again",
        ),
        (
            "U61", "without a home folder nothing is downloaded",
            ("        return cache_folder() / name\n    except InputError:\n",
             "        return cache_folder() / name\n    except OSError:\n"),
            "texts:without_a_home_a_text_is_downloaded_for_this_time",
        ),
        (
            "U62", "a text that cannot be kept cannot be used",
            ('        say(f"downloaded for this time alone: {error}")\n', "        raise\n"), _KEPT,
        ),
    ),
]  # fmt: skip

MISTAKES = [*MACHINE, *VALUES, *SIGNALS, *WORDS]
