"""Mistakes in data: which tokens a text becomes, where they are read, which are refused."""

from tests.mutations.mistake import listed

_PERMUTATION = "batches:a_shuffle_is_a_permutation"
_EPOCH = "batches:an_epoch_sees_every_token_once_and_the_next_cuts_elsewhere"
_STREAMS = "batches:streams_steps_and_micro_steps_share_no_draws"
_WHOLE = "batches:a_whole_split_has_every_target_once_after_its_token"
_NANOGPT = "prepare:characters_are_prepared_as_nanogpt_does"
_DOCUMENTS = "prepare:documents_are_separated_by_the_end_of_text_token"
_KIND = "prepare:a_tokenizer_of_another_kind_is_refused"
_NOTHING = "prepare:what_cannot_be_prepared_leaves_nothing_behind"
_FINGERPRINT = "dataset:the_fingerprint_is_of_the_tokens_and_their_split_and_not_of_the_dtype"
_DAMAGED = "bins:a_damaged_folder_is_refused"
_SPEECHES = "texts:a_play_becomes_its_speeches_without_headings_and_directions"

BATCHES = listed(
    "data/batches.py",
    (
        "Y01", "the targets are the tokens themselves",
        ("windows[:, :-1].copy(), windows[:, 1:].copy()",
         "windows[:, :-1].copy(), windows[:, :-1].copy()"),
        "batches:a_batch_is_windows_of_the_split_and_the_tokens_after_them",
    ),
    (
        "Y02", "a file of tokens: every sequence is the first",
        ("tokens.windows(starts,", "tokens.windows(starts[:1].repeat(len(starts)),"),
        "durability:tokens_in_a_file_are_those_of_an_array",
    ),
    (
        "Y03", "a split of exactly the context is taken, without a last target",
        ("if len(tokens) <= block_size:", "if len(tokens) < block_size:"),
        "batches:the_shortest_split_has_one_window",
    ),
    (
        "Y04", "an epoch has one window too few",
        ("// block_size - 1)", "// block_size - 2)"), _EPOCH,
    ),
    (
        "Y05", "a place beyond the epoch stays there",
        ("while outside.any():", "if outside.any():"), _PERMUTATION,
    ),
    (
        "Y06", "half of the bits of a place are dropped",
        ("mask = np.uint64((1 << int(half)) - 1)", "mask = np.uint64((1 << int(half)) - 2)"),
        _PERMUTATION,
    ),
    (
        "Y07", "all streams are that of training",
        ('integer("stream", stream)]', 'integer("stream", TRAIN)]'), _STREAMS,
    ),
    (
        "Y08", "the draws of a step run into those of the next",
        ('[0, integer("micro_step", micro_step), integer("step", step), 0]',
         '[integer("micro_step", micro_step), 0, integer("step", step), 0]'), _STREAMS,
    ),
    (
        "Y09", "micro-step 1 of a step is micro-step 0 of the next",
        ('[0, integer("micro_step", micro_step), integer("step", step), 0]',
         '[0, 0, integer("step", step) + micro_step, 0]'), _STREAMS,
    ),
    (
        "Y10", "a whole split: padding counts as a target",
        ("np.full(size, -1, np.int64)", "np.full(size, 0, np.int64)"), _WHOLE,
    ),
    (
        "Y11", "a whole split: a batch that is not full is left out",
        ("range(0, n_targets, size)", "range(0, n_targets - size + 1, size)"), _WHOLE,
    ),
    (
        "Y12", "more sequences than there are numbers are accepted",
        ("if index * batch_size >= WORD_LIMIT:", "if False:"),
        "batches:more_sequences_than_there_are_numbers_are_refused",
    ),
)  # fmt: skip

DATASET = listed(
    "data/dataset.py",
    (
        "Y20", "the validation split begins a token late",
        ("text[cut:]", "text[cut + 1 :]"),
        "dataset:a_text_file_becomes_tokens_split_at_nine_tenths_of_its_characters",
    ),
    (
        "Y21", "every chunk of a long text is its first one",
        ("tokenizer.encode(text[start : start + _CHUNK])",
         "tokenizer.encode(text[: _CHUNK][: len(text) - start])"),
        "dataset:a_text_longer_than_a_chunk_is_tokenized_in_order",
    ),
    (
        "Y22", "the fingerprint leaves out what follows the first million tokens",
        ("tokens[start : start + _CHUNK].astype", "tokens[: _CHUNK].astype"),
        "dataset:the_fingerprint_is_of_all_chunks",
    ),
    (
        "Y23", "the fingerprint does not know where the split is",
        ('digest.update(len(tokens).to_bytes(8, "little"))', "pass"), _FINGERPRINT,
    ),
    (
        "Y24", "the fingerprint depends on the type of the tokens",
        ('.astype("<u4").tobytes()', ".tobytes()"), _FINGERPRINT,
    ),
    (
        "Y25", "a context as long as a split is accepted",
        ("if len(tokens) < block_size + 1:", "if len(tokens) < block_size:"),
        "dataset:a_context_longer_than_a_split_is_refused_with_the_longest_possible",
    ),
    (
        "Y26", "the longest context is that of the longer split",
        ("longest = min(", "longest = max("),
        "dataset:a_context_longer_than_a_split_is_refused_with_the_longest_possible",
    ),
    (
        "Y27", "a text of one's own name wins over the prepared folder",
        ('if dataset and os.path.isfile(folder / "train.bin"):',
         'if dataset not in texts.NAMES and os.path.isfile(folder / "train.bin"):'),
        "bins:a_prepared_folder_wins_over_a_text_of_the_same_name",
    ),
    (
        "Y28", "a split of one token is accepted",
        ("if len(tokens) < 2:", "if len(tokens) < 1:"),
        "dataset:a_text_too_short_to_split_is_refused",
    ),
)  # fmt: skip

BINS = listed(
    "data/nanogpt_bins.py",
    (
        "Y30", "a vocabulary of 65,536 takes 32 bits",
        ("vocab_size <= 1 << 16", "vocab_size < 1 << 16"),
        "dataset:tokens_are_as_wide_as_the_vocabulary_needs",
    ),
    (
        "Y31", "the largest token is looked for in the first million alone",
        ("for i in range(0, len(tokens), _CHUNK))", "for i in range(0, 1, _CHUNK))"),
        "bins:a_token_outside_the_vocabulary_is_found_in_a_large_file",
    ),
    (
        "Y32", "without a vocabulary, that of the training split is taken",
        ("max(largest.values()) + 1", 'largest["train.bin"] + 1'),
        "bins:without_meta_the_vocabulary_ends_at_the_largest_token_and_a_note_says_so",
    ),
    (
        "Y33", "half a token at the end of a file is ignored",
        ("if size % dtype.itemsize:", "if False:"), _DAMAGED,
    ),
    (
        "Y34", "a token equal to the size of the vocabulary is accepted",
        ("if token >= vocab_size:", "if token > vocab_size:"),
        "bins:the_first_token_outside_the_vocabulary_is_refused",
    ),
    (
        "Y35", "a meta.pkl whose size is True is accepted",
        ("if type(vocab_size) is not int or vocab_size < 1:",
         "if not isinstance(vocab_size, int) or vocab_size < 1:"), _DAMAGED,
    ),
    (
        "Y36", "a meta.pkl of ours has no way from characters to tokens",
        ('"stoi": stoi}', '"stoi": {}}'),
        "bins:what_is_written_for_nanogpt_maps_both_ways",
    ),
)  # fmt: skip

FILES = listed(
    "data/token_file.py",
    (
        "Y40", "a file of the same size counts as unchanged",
        ("if _state(file) != self._state:", "if _state(file)[0] != self._state[0]:"),
        "bins:a_file_that_was_written_anew_is_not_read_on",
    ),
    (
        "Y41", "a window that ends early is filled with what is in memory",
        ("if read_into(file, window.data):", "if read_into(file, window.data) is None:"),
        "durability:a_file_shortened_within_a_batch_is_noticed",
    ),
    (
        "Y42", "a slice begins at the file's start",
        ("self.windows(np.array([start])", "self.windows(np.array([0])"),
        "durability:tokens_in_a_file_are_those_of_an_array",
    ),
    (
        "Y43", "a slice with a step is read as one without",
        ("if step != 1:", "if step < 1:"),
        "bins:tokens_of_a_file_are_read_in_order_alone",
    ),
)  # fmt: skip

PREPARE = listed(
    "data/prepare.py",
    (
        "Y50", "the share of validation is that of training",
        ('* (1 - val_share))', '* val_share)'), _NANOGPT,
    ),
    (
        "Y51", "the tokens of validation stay in the training split",
        ('(train, val)[split].write', '(train, train)[split].write'), _NANOGPT,
    ),
    (
        "Y52", 'every piece of a text moves the cut by a character',
        ('cut = max(cut - len(text), 0)', 'cut = max(cut - len(text) + 1, 0)'), _NANOGPT,
    ),
    (
        "Y53", "a separator across two blocks is text",
        ("max(len(separator) - 1, 0)", "0"),
        "prepare:a_separator_of_white_space_is_found_across_blocks",
    ),
    (
        "Y54", "an empty document has an end-of-text token, too",
        ("        if ends and written:\n", "        if ends:\n"),
        "prepare:a_separator_of_white_space_is_found_across_blocks",
    ),
    (
        "Y55", "the end of a file is no end of a document",
        ("    yield held, True\n", "    yield held, False\n"), _DOCUMENTS,
    ),
    (
        "Y56", "a split of one token is written",
        ("    if min(counts) < 2:\n", "    if min(counts) < 1:\n"),
        "prepare:both_splits_need_two_tokens",
    ),
    (
        "Y57", "a prepared folder is overwritten",
        ('if (folder / "train.bin").exists():', "if False:"),
        "prepare:the_command_prepares_and_names_mistakes",
    ),
    (
        "Y58", "line ends are changed",
        ('encoding="utf-8", newline="")', 'encoding="utf-8")'), _NANOGPT,
    ),
)  # fmt: skip

TOKENIZERS = [
    *listed(
        "data/tokenizers/byte_pairs.py",
        (
            "Y60", "a text is cut within a word",
            ("part[: last_cut(part)]", "part[: last_cut(part) + 1]"),
            "prepare:a_long_text_is_encoded_as_in_one_piece",
        ),
        (
            "Y61", "a word longer than a piece is cut anywhere",
            ("while start + length < len(text) and not last_cut(text[start : start + length]):\n"
             "            length *= 2\n"
             "        part = text[start : start + length]\n"
             "        part = part if start + length >= len(text) else part[: last_cut(part)]\n",
             "if length < 0:\n"
             "            length *= 2\n"
             "        part = text[start : start + length]\n"
             "        part = part[: last_cut(part) or length]\n"),
            "prepare:a_word_longer_than_a_piece_is_encoded_as_one",
        ),
        (
            "Y62", "a text is cut between two spaces",
            ('r".*\\S(?=[ \\n])"', 'r".*(?=[ \\n])"'),
            "prepare:a_text_is_cut_only_where_a_word_ends",
        ),
        (
            "Y63", "a special token that is spelled out in a text becomes that token",
            ("encode_special_tokens = True", "encode_special_tokens = False"),
            "prepare:every_text_is_restored",
        ),
        (
            "Y64", "a tokenizer that changes the text is accepted",
            ('known["normalizer"] is None', "True"), _KIND,
        ),
        (
            "Y65", "a tokenizer that splits words elsewhere is accepted",
            ("{**splitter, **expected} == splitter", "True"), _KIND,
        ),
        (
            "Y66", "a tokenizer without all bytes is accepted",
            ('all(symbol in model["vocab"] for symbol in alphabet)', "True"),
            "prepare:a_tokenizer_that_lacks_a_byte_is_refused",
        ),
        (
            "Y67", "the size of the vocabulary is the number of tokens, not the largest plus one",
            ("max(vocabulary.values(), default=-1) + 1", "len(vocabulary)"),
            "prepare:tokens_with_a_gap_count_to_the_largest",
        ),
        (
            "Y68", "decoding leaves out special tokens",
            ("skip_special_tokens=False", "skip_special_tokens=True"),
            "prepare:special_tokens_are_decoded",
        ),
    ),
    *listed(
        "data/tokenizers/characters.py",
        (
            "Y70", "a character beyond the largest known one is taken for that one",
            ("int(self._codes.max()) + 2", "int(self._codes.max()) + 1"),
            "tokenizers:every_character_outside_the_vocabulary_is_unknown",
        ),
        (
            "Y71", "the characters have the order in which they occur",
            ("return cls(sorted(seen))", "return cls(dict.fromkeys(text))"),
            "tokenizers:the_vocabulary_is_the_sorted_set_of_the_characters",
        ),
        (
            "Y72", "an unknown character is token -1",
            ("if (tokens < 0).any():", "if (tokens < -1).any():"),
            "tokenizers:every_character_outside_the_vocabulary_is_unknown",
        ),
        (
            "Y73", "half a pair of surrogates becomes a question mark",
            ('text.encode("utf-32-le", "surrogatepass")', 'text.encode("utf-32-le", "replace")'),
            "tokenizers:adjacent_surrogates_stay_two_characters",
        ),
    ),
    *listed(
        "data/tokenizers/tokenizer.py",
        (
            "Y74", "the first number beyond the vocabulary is decoded",
            ("(tokens >= self.vocab_size)", "(tokens > self.vocab_size)"),
            "tokenizers:ids_outside_the_vocabulary_are_refused",
        ),
        (
            "Y75", "numbers with a fraction are decoded",
            ('if tokens.dtype.kind not in "iu":', 'if tokens.dtype.kind not in "iuf":'),
            "tokenizers:ids_that_are_no_sequence_of_integers_are_refused",
        ),
    ),
    *listed(
        "data/tokenizers/tokenizer_files.py",
        (
            "Y76", "a description with unknown keys is accepted",
            ('if saved.keys() != {"kind", key}:', 'if not saved.keys() >= {"kind", key}:'),
            "tokenizers:json_that_is_not_exactly_a_tokenizer_is_refused",
        ),
    ),
    *listed(
        "data/tokenizers/gpt2.py",
        (
            "Y77", "a vocabulary of which one file is left is taken for whole",
            ("and all(downloads.read_cached", "and any(downloads.read_cached"),
            "prepare:a_vocabulary_of_which_a_file_is_missing_is_downloaded",
        ),
    ),
]  # fmt: skip

MORE = [
    *listed(
        "data/nanogpt_bins.py",
        (
            "Y37", "a table with more characters than tokens makes a tokenizer",
            ("or len(itos) != vocab_size:", "or len(itos) < vocab_size:"),
            "bins:without_a_character_for_each_token_there_is_no_tokenizer_and_a_note",
        ),
    ),
    *listed(
        "data/tokenizers/byte_pairs.py",
        (
            "Y90", "the first line of merges.txt is a pair",
            ('if not line.startswith("#version")]', "if line]"),
            "prepare:a_folder_of_vocabulary_and_merges_is_a_tokenizer",
        ),
        (
            "Y91", "a vocabulary without the end of text is learned",
            ("if vocab_size < 257:", "if vocab_size < 256:"),
            "prepare:byte_pairs_need_the_bytes_and_the_end_of_text",
        ),
        (
            "Y92", "of a long text the last pieces alone are tokens",
            ("            found += [np.array(one.ids", "            found = [np.array(one.ids"),
            "prepare:a_long_text_is_encoded_as_in_one_piece",
        ),
    ),
    *listed(
        "data/tokenizers/characters.py",
        (
            "Y93", "any number of unknown characters is shown",
            ("unknown[:10])", "unknown[:11])"),
            "tokenizers:at_most_ten_unknown_characters_are_shown",
        ),
        (
            "Y94", "a large vocabulary is shown whole",
            ("repr(characters[:200])", "repr(characters)"),
            "tokenizers:a_large_vocabulary_is_not_shown_whole",
        ),
    ),
    *listed(
        "data/tokenizers/tokenizer_files.py",
        (
            "Y95", "a vocabulary without its merges is opened",
            ("(folder / vocabulary).is_file() and (folder / merges).is_file()",
             "(folder / vocabulary).is_file()"),
            "prepare:a_folder_of_vocabulary_and_merges_is_a_tokenizer",
        ),
        (
            "Y96", "transformers is not told the end-of-text token",
            ("if tokenizer.end_of_text is not None:", "if tokenizer.end_of_text is None:"),
            "prepare:a_folder_of_vocabulary_and_merges_is_a_tokenizer",
        ),
    ),
]  # fmt: skip

MORE += [
    *listed(
        "data/prepare.py",
        (
            "Y59", "byte pairs are learned up to the default's number",
            ("BPETokenizer.train(words, vocab_size)", "BPETokenizer.train(words, 8192)"),
            "prepare:as_many_byte_pairs_are_learned_as_asked_for",
        ),
    ),
    *listed(
        "data/tokenizers/tokenizer.py",
        (
            "Y97", "a text of a subclass of str is none",
            ("if not isinstance(text, str):", "if type(text) is not str:"),
            "tokenizers:a_text_may_be_of_a_subclass_of_str",
        ),
    ),
]  # fmt: skip

TEXTS = listed(
    "data/texts.py",
    (
        "Y80", "Shakespeare: directions are spoken",
        (r'r"^_[^_]*(_[^_]*)?_ *$"', r'r"^_[^_]*(_[^_]*)?_x$"'), _SPEECHES,
    ),
    (
        "Y81", "Shakespeare: what follows a heading is still spoken",
        ("            speaking = False\n", "            pass\n"), _SPEECHES,
    ),
    (
        "Y82", "a cached text is taken unseen",
        ("data = downloads.read_cached(path, pin)",
         "data = path.read_bytes() if path and path.exists() else None"),
        "texts:a_damaged_cached_file_is_downloaded_again",
    ),
    (
        "Y83", "a text file's line ends are changed",
        ('return content.decode("utf-8")',
         'return content.decode("utf-8").replace("\\r\\n", "\\n")'),
        "texts:a_file_is_read_exactly_as_it_is",
    ),
)  # fmt: skip

MISTAKES = [*BATCHES, *DATASET, *BINS, *FILES, *PREPARE, *TOKENIZERS, *MORE, *TEXTS]
