/* Steps of llm.c (github.com/karpathy/llm.c, train_gpt2.c), served as side.py does.

   Compile it with the source of llm.c (__main__.py does so):

       gcc -Ofast -march=native -fno-finite-math-only -fopenmp -DOMP -Iplace/llm.c llm_c.c -lm

   Arguments: layers, heads, width, context, vocabulary, batch, positions. Weights and tokens are
   random: its file of GPT-2's weights is not needed. It always has biases. */
#define TESTING /* without its main */
#include "train_gpt2.c"

#define SHORTEST 0.3 /* seconds of steps for a line */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void build(GPT2 *model, char **sizes) {
    memset(model, 0, sizeof *model);
    GPT2Config c = {.num_layers = atoi(sizes[1]), .num_heads = atoi(sizes[2]),
                    .channels = atoi(sizes[3]), .max_seq_len = atoi(sizes[4]),
                    .vocab_size = atoi(sizes[5])};
    c.padded_vocab_size = (c.vocab_size + 127) / 128 * 128;
    model->config = c;
    fill_in_parameter_sizes(model->param_sizes, c);
    for (int i = 0; i < NUM_PARAMETER_TENSORS; i++) {
        model->num_parameters += model->param_sizes[i];
    }
    model->params_memory = malloc_and_point_parameters(&model->params, model->param_sizes);
    for (size_t i = 0; i < model->num_parameters; i++) {
        model->params_memory[i] = 0.02f * (2.0f * rand() / RAND_MAX - 1.0f);
    }
    for (int i = 0; i < c.num_layers * c.channels; i++) {
        model->params.ln1w[i] = model->params.ln2w[i] = 1.0f;
    }
    for (int i = 0; i < c.channels; i++) { model->params.lnfw[i] = 1.0f; }
    model->mean_loss = -1.0f;
}

int main(int argc, char **argv) {
    if (argc != 8) { return 2; }
    GPT2 model;
    build(&model, argv);
    int B = atoi(argv[6]), T = atoi(argv[7]), steps_done = 0;
    int *tokens = malloc(sizeof(int) * (B * T + 1));
    for (int i = 0; i <= B * T; i++) { tokens[i] = rand() % model.config.vocab_size; }
    char line[8];
    for (int warm = 0; warm < 2 || fgets(line, sizeof line, stdin); warm++) {
        double started = now();
        int steps = 0;
        do {
            gpt2_forward(&model, tokens, tokens + 1, B, T);
            gpt2_zero_grad(&model);
            gpt2_backward(&model);
            gpt2_update(&model, 1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, ++steps_done);
            steps++;
        } while (now() - started < SHORTEST);
        if (warm == 0) { printf("first loss: %f\n", model.mean_loss); }
        if (warm == 1) { printf("= ready\n"); }
        if (warm > 1) { printf("= %.9f\n", (now() - started) / steps); }
        fflush(stdout);
    }
    return 0;
}
