"""Mistakes between this project's models and the files of Hugging Face and nanoGPT."""

from tests.mutations.mistake import listed

_EXPORT = "formats:an_exported_folder_has_every_parameter_of_gpt2"
_SINUSOIDS = "formats:sinusoids_are_written_as_positions"
_BLOCKS = "formats:arrays_larger_than_a_block_are_read_whole"
_TRANSPOSED = "formats:square_projections_of_nanogpt_are_transposed"
_WRITTEN = "formats:nanogpts_file_has_its_names_and_its_shapes"
_REFUSED = "interop:an_unsupported_configuration_is_refused_by_name"
_READ = "interop:an_exported_model_can_be_read"
_SHARDS = "formats:all_shards_are_read"

HUGGINGFACE = listed(
    "interop/huggingface.py",
    (
        "F01", "another width of the MLP is taken for 4 n_embd",
        ('n_inner=0 if inner in (None, 4 * sizes["n_embd"]) else inner', "n_inner=0"),
        "interop:another_width_of_the_mlp_and_eps_come_back",
    ),
    (
        "F03", "an unknown activation is GPT-2's",
        ("if not isinstance(activation, str) or activation not in THEIR_ACTIVATIONS:",
         "if not isinstance(activation, str):",
         "activation=THEIR_ACTIVATIONS[activation]",
         'activation=THEIR_ACTIVATIONS.get(activation, "gelu_tanh")'), _REFUSED,
    ),
    (
        "F04", "the exact GELU is read as the one with tanh",
        ('{"gelu": "gelu", "gelu_python": "gelu", "relu": "relu"}',
         '{"gelu": "gelu_tanh", "gelu_python": "gelu", "relu": "relu"}'),
        "interop:an_equivalent_configuration_is_accepted",
    ),
    (
        "F05", "the exact GELU is written as the one with tanh",
        ('"gelu_tanh": "gelu_new", "gelu": "gelu"', '"gelu_tanh": "gelu_new", "gelu": "gelu_new"'),
        _READ,
    ),
    (
        "F06", "only the first shard is read",
        ("sorted(set(shards.values()))]", "sorted(set(shards.values()))[:1]]"), _SHARDS,
    ),
    (
        "F07", "a shard may lie outside of the folder",
        ("if not isinstance(name, str) or not FILE_NAME.fullmatch(name):",
         "if not isinstance(name, str) or not name:"),
        "interop:a_shard_outside_of_the_folder_is_refused",
    ),
    (
        "F08", "an untied head has transformers' prefix",
        ('        arrays["lm_head.weight"] = arrays.pop("transformer.lm_head.weight")\n',
         "        pass\n"), _EXPORT,
    ),
    (
        "F09", "layer norms without a bias are written without one",
        ('(".ln_", ".attn.", ".mlp.")', '(".attn.", ".mlp.")'), _EXPORT,
    ),
    (
        "F10", "biases that the model lacks are ones",
        ("np.zeros(width, np.float32)", "np.ones(width, np.float32)"), _EXPORT,
    ),
    (
        "F11", "a bias is as long as the weight's input",
        ("width = arrays[name].shape[-1]", "width = arrays[name].shape[0]"), _EXPORT,
    ),
    (
        "F12", "the sinusoids of another position are written",
        ("= table.astype(np.float32)", "= np.roll(table, 1, axis=0).astype(np.float32)"),
        _SINUSOIDS,
    ),
    (
        "F13", "a model that is not tied is written as one",
        ('"tie_word_embeddings": config.tied,', '"tie_word_embeddings": True,'), _EXPORT,
    ),
    (
        "F14", "numbers beyond float32 become infinite",
        ("if not np.isfinite(rounded(largest) if dtype == BF16 else largest).all():",
         "if np.isnan(narrow).any():"),
        "formats:numbers_beyond_float32_are_not_exported",
    ),
)  # fmt: skip

WEIGHTS = [
    *listed(
        "interop/weights.py",
        (
            "F20", "of a large array every block but the first is left as it was",
            ("for start in range(0, flat.size, max(len(block), 1)):",
             "for start in range(0, min(flat.size, 1), max(len(block), 1)):"), _BLOCKS,
        ),
        (
            "F21", "of a large array all blocks are written over the first",
            ("flat[start : start + len(part)] = part", "flat[: len(part)] = part"), _BLOCKS,
        ),
        (
            "F22", "bfloat16 is the lower half of a float32",
            ("<< np.uint32(16)).view", "<< np.uint32(0)).view"), _BLOCKS,
        ),
        (
            "F23", "an array of another shape is filled anyhow",
            ("if tensor.shape != allowed[name]:", "if len(tensor.shape) != len(allowed[name]):"),
            _REFUSED,
        ),
        (
            "F24", "a missing array is left as memory was",
            ("        if name not in tensors:\n            raise",
             "        if not tensors:\n            raise"), "formats:a_missing_array_is_named",
        ),
        (
            "F25", "a head that differs from the table it is tied to is dropped",
            ('if not np.array_equal(head, model.params["wte.weight"]):', "if False:"),
            "interop:a_head_that_is_tied_but_differs_is_refused",
        ),
        (
            "F26", "of two arrays with one name the last counts",
            ("        if name in table:\n", "        if name in ():\n"),
            "formats:two_arrays_of_one_name_are_refused",
        ),
        (
            "F27", "a parameter is taken for a causal mask",
            (r'r"h\.\d+\.attn\.(bias|masked_bias)"', r'r"h\.\d+\.attn\..*bias"'), _READ,
        ),
    ),
    *listed(
        "interop/safetensors_files.py",
        (
            "F30", "arrays may overlap",
            ("        if begin != end:\n", "        if begin > end:\n"),
            "formats:every_byte_belongs_to_one_array",
        ),
        (
            "F31", "there may be bytes that belong to no array",
            ("        if begin != end:\n", "        if begin < end:\n"),
            "formats:every_byte_belongs_to_one_array",
        ),
        (
            "F32", "a key that occurs twice has its last value",
            ("if len(values) != len(pairs):", "if len(values) > len(pairs):"),
            "formats:every_byte_belongs_to_one_array",
        ),
        (
            "F33", "bytes after the last array are ignored",
            ("if end != size - start:", "if end > size - start:"),
            "formats:every_byte_belongs_to_one_array",
        ),
        (
            "F34", "every array is read from the beginning",
            ("file.seek(position)", "file.seek(0)"),
            "interop:the_reader_reads_what_the_library_writes",
        ),
        (
            "F35", "strides are ignored",
            ("arrays[name].reshape(-1)", 'arrays[name].ravel("K")'),
            "interop:elements_are_written_in_the_order_of_their_axes",
        ),
    ),
]  # fmt: skip

NANOGPT = listed(
    "interop/nanogpt.py",
    (
        "F42", "the tied head is missing",
        ('    state["lm_head.weight"] = state["transformer.wte.weight"]', "    pass"), _WRITTEN,
    ),
    (
        "F43", "a setting that nanoGPT does not have is written anyhow",
        ("        if value != only:\n", "        if False:\n"),
        "interop:what_nanogpt_cannot_express_is_refused_by_name",
    ),
    (
        "F44", "the rate of dropout that was asked for is ignored",
        ("    if dropout is not None:\n", "    if dropout:\n"),
        "formats:a_rate_of_zero_replaces_the_files_own",
    ),
)  # fmt: skip

TORCH = [
    *listed(
        "interop/torch_reader.py",
        (
            "F50", "a storage of another size is accepted",
            (".file_size != storage.size * itemsize:", ".file_size < 0:"),
            "formats:a_storage_has_the_size_that_its_tensor_says",
        ),
        (
            "F51", "names of functions are not compared with those known",
            ("if argument not in KNOWN_NAMES:", "if not argument:"),
            "formats:a_name_that_is_not_called_is_refused_too",
        ),
        (
            "F52", "an array is read in the order of its axes, not of its strides",
            ("key=lambda axis: -value.strides[axis])", "key=lambda axis: axis)"), _TRANSPOSED,
        ),
    ),
    *listed(
        "interop/torch_writer.py",
        (
            "F55", "strides are those of the transpose",
            ("math.prod(array.shape[axis + 1 :])", "math.prod(array.shape[:axis])"), _WRITTEN,
        ),
        (
            "F56", "every array refers to the first storage",
            ("return _tensor(next(key for", "return _tensor(0 * next(key for"), _WRITTEN,
        ),
    ),
]  # fmt: skip

OPEN = listed(
    "interop/open_model.py",
    (
        "F60", "a shorter context keeps the last positions",
        ("model.params[name][: len(param)]", "model.params[name][-len(param) :]"),
        "formats:a_shorter_context_keeps_the_first_positions",
    ),
    (
        "F61", "a longer context is made up",
        ("    if block_size > longest:\n", "    if False:\n"),
        "formats:a_shorter_context_keeps_the_first_positions",
    ),
    (
        "F62", "the rate of dropout of a run cannot be set to zero",
        ("if dropout is not None:", "if dropout:"),
        "formats:a_rate_of_zero_replaces_the_files_own",
    ),
    (
        "F63", "a folder with a model is overwritten",
        ("        if (path / name).exists():\n", "        if False:\n"),
        "interop:nothing_is_overwritten",
    ),
    (
        "F64", "a run's dtype cannot be chosen",
        ("if dtype not in (None, run.model.precision):", "if False:"),
        "formats:a_run_is_opened_in_another_dtype",
    ),
    (
        "F65", "a tokenizer with more tokens than the model is accepted",
        ("run.tokenizer.vocab_size > run.config.vocab_size:", "run.tokenizer.vocab_size < 0:"),
        "formats:a_tokenizer_larger_than_its_model_is_refused",
    ),
    (
        "F66", "the tokenizer is not written",
        ("        write_tokenizer(path, run.tokenizer)\n", "        pass\n"),
        "formats:the_tokenizer_goes_along",
    ),
)  # fmt: skip

MORE = [
    *listed(
        "interop/config_keys.py",
        (
            "F02", "values that change the mathematics are not looked at",
            ("if not any(type(value) is type(one) and value == one for one in known):",
             "if False:"), _REFUSED,
        ),
    ),
    *listed(
        "interop/huggingface.py",
        (
            "F15", "three rates of dropout are the first of them",
            ('if len(set(rates.values())) > 1:', 'if len(set(rates.values())) > 9:'), _REFUSED,
        ),
        (
            "F16", "a .safetensors file is read as PyTorch's",
            ('if path.suffix == ".safetensors":', 'if path.suffix == ".st":'), _SHARDS,
        ),
    ),
    *listed(
        "interop/nanogpt.py",
        (
            "F45", "nothing is transposed in reading",
            ('tensors_of(archive, state, torch_turns)', 'tensors_of(archive, state)'), _TRANSPOSED,
        ),
    ),
    *listed(
        "interop/open_model.py",
        (
            "F67", "an error does not name the source",
            ('raise (error if named else InputError(f"{path}: {error}")) from None',
             "raise error from None"), "formats:a_name_that_is_not_called_is_refused_too",
        ),
        (
            "F68", "a model that is known by name is not explained",
            ('elif path.parent == Path() and path.name.startswith("gpt2"):',
             'elif path.parent == Path() and path.name.startswith("gpt9"):'),
            "formats:a_model_that_is_known_by_name_is_not_downloaded",
        ),
    ),
    *listed(
        "interop/safetensors_files.py",
        (
            "F36", "an array may have another size than its place",
            ("if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) *"
             " _ITEMSIZE[dtype]:",
             "if len(offsets) != 2:"), "formats:an_array_fills_its_place",
        ),
        (
            "F70", "bfloat16 numbers are written truncated",
            ("stored(part).astype", '(part.view("<u4") >> 16).astype'),
            "formats:bfloat16_is_written_rounded_to_the_nearest_and_to_the_even",
        ),
        (
            "F71", "of an array the last number of a block is not written",
            ("flat[start : start + _BLOCK]", "flat[start : start + _BLOCK - 1]"),
            "formats:arrays_larger_than_a_block_are_written_whole",
        ),
    ),
    *listed(
        "interop/huggingface.py",
        (
            "F72", "numbers that bfloat16 does not have are written as infinite",
            ("rounded(largest) if dtype == BF16 else largest", "largest"),
            "formats:what_cannot_be_bfloat16_is_refused",
        ),
        (
            "F73", "the configuration of a bfloat16 model says float32",
            ('"torch_dtype": dtype', '"torch_dtype": "float32"'),
            "formats:bfloat16_is_written_rounded_to_the_nearest_and_to_the_even",
        ),
    ),
    *listed(
        "interop/open_model.py",
        (
            "F74", "a checkpoint is written in float32 though bfloat16 was asked for",
            ('if dtype != "float32" and form in _KEEP_FLOAT32:', 'if dtype == "float64":'),
            "formats:what_cannot_be_bfloat16_is_refused",
        ),
        (
            "F75", "a model of bfloat16 products is said to be rounded to float32",
            ("if run.model.dtype != np.float32 and", 'if run.model.precision != "float32" and'),
            "formats:bfloat16_is_written_rounded_to_the_nearest_and_to_the_even",
        ),
    ),
    *listed(
        "interop/torch_reader.py",
        (
            "F53", "big-endian numbers are read as little-endian",
            ("archive.getinfo(order).file_size == 3:", "archive.getinfo(order).file_size == 0:"),
            "formats:big_endian_numbers_are_refused",
        ),
        (
            "F54", "the strides of a transpose are those of the array",
            ("strides=value.strides[::-1]", "strides=value.strides"), _TRANSPOSED,
        ),
        (
            "F57", "a tensor with gaps counts as dense",
            ("if count > 1 and step != expected:", "if count > 1 and step < expected:"),
            "formats:dense_tensors_have_no_gaps",
        ),
    ),
    *listed(
        "interop/weights.py",
        (
            "F28", "a negative number is a size",
            ("0 <= value < 2**48", "value < 2**48"), "formats:sizes_are_plain_integers",
        ),
    ),
]  # fmt: skip

MORE += listed(
    "interop/torch_reader.py",
    (
        "F58", "a tensor may have fewer strides than axes",
        ("if len(shape) != len(strides) or len(shape) > 8 or", "if len(shape) > 8 or"),
        "formats:calls_and_references_are_those_of_a_model",
    ),
    (
        "F59", "a reference may be to anything that has a name",
        ("            if kind in STORAGES:\n", "            if kind:\n"),
        "formats:calls_and_references_are_those_of_a_model",
    ),
)  # fmt: skip

ELSEWHERE = [
    *listed(
        "interop/torch_reader.py",
        (
            "F40", "reading and writing leave c_proj as it lies",
            ('(".c_attn.weight", ".c_proj.weight", ".c_fc.weight")',
             '(".c_attn.weight", ".mlp.c_proj.weight", ".c_fc.weight")'), _TRANSPOSED, _WRITTEN,
        ),
    ),
    *listed(
        "interop/nanogpt_training.py",
        (
            "F41", "nothing is transposed in writing",
            ('array.T if torch_turns(name) else array', 'array'), _WRITTEN,
        ),
    ),
]  # fmt: skip

MISTAKES = [*HUGGINGFACE, *WEIGHTS, *NANOGPT, *TORCH, *OPEN, *MORE, *ELSEWHERE]
