"""The order of the course, "The way" in examples/README.md: what comes after an exercise."""

# In this order nothing is asked before what it needs. Exercises by their files, the rest in words.
WAY = (
    "rung 0",
    *("01_linear", "f2_embedding", "06_embedding", "f1_softmax", "08_cross_entropy"),
    *("rung 1", "f3_mask", "rung 2", "the forward half of TRANSFORMER.md", "f4_head"),
    "the page of gpt-numpy inspect",
    *("07a_softmax_steps", "07_softmax", "10a_attention_steps", "10_head"),
    *(
        "the backward half of TRANSFORMER.md",
        "rung 3",
        "the notebook on attention, in part",
    ),
    *("f5_split", "11_attention", "rung 4"),
    *("02_relu", "03_gelu", "rung 5", "rung 6", "05_residual", "rung 7"),
    *("09_layer_norm", "rung 8", "the rest of the notebook on attention", "04_dropout", "rung 9"),
    *("12_tied_embedding", "f6_sampling", "the notebook on embeddings"),
    *("the notebook on optimisers up to Adam", "s1_adamw"),
    "the rest of the notebook on optimisers",
    *("the notebook on backpropagation", "a rung 4 of your own"),
    *("13_rms_norm", "rung 10", "14_rotation", "rung 11", "rung 12", "rung 13"),
    *("15_swiglu", "16_grouped_heads"),
    *("17_cross_attention", "translator 1", "the notebook on cross-attention", "translator 2"),
    *("18_label_smoothing", "translator 3", "translator 4", "the package itself"),
)
ORDER = tuple(name for name in WAY if "_" in name)
EXERCISES = {stem.split("_")[0].lstrip("0"): stem for stem in ORDER}


def after(number: str) -> str:
    """What comes after an exercise, up to the next one: "rung 1, then exercise f3"."""
    between = []
    for name in WAY[WAY.index(EXERCISES[number]) + 1 :]:
        if name in ORDER:
            following = f"exercise {name.split('_')[0].lstrip('0')}"
            return f"{', '.join(between)}, then {following}" if between else following
        between.append(name)
    return ", ".join(between)
