// reference/activation.py: the MLP's nonlinearities, element by element: f, and its derivative.

const TANH_SCALE = Math.sqrt(2 / Math.PI), TANH_CUBIC = 0.044715;

const ACTIVATIONS = {
  gelu: {
    // gelu_forward
    f: x => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
    // gelu_backward
    slope: x => 0.5 * (1 + erf(x * Math.SQRT1_2)) + x * Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI),
  },
  gelu_tanh: {
    // gelu_tanh_forward
    f: x => 0.5 * x * (1 + Math.tanh(TANH_SCALE * (x + TANH_CUBIC * x * x * x))),
    // gelu_tanh_backward
    slope: x => {
      const t = Math.tanh(TANH_SCALE * (x + TANH_CUBIC * x * x * x)), du = TANH_SCALE * (1 + 3 * TANH_CUBIC * x * x);
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du;
    },
  },
  relu: {
    // relu_forward
    f: x => x > 0 ? x : 0,
    // relu_backward
    slope: x => x > 0 ? 1 : 0,
  },
  relu2: {
    // relu2_forward
    f: x => x > 0 ? x * x : 0,
    // relu2_backward
    slope: x => x > 0 ? 2 * x : 0,
  },
};

function activationForward(kind, x, out) {
  const { f } = ACTIVATIONS[kind];
  for (let k = 0; k < x.length; k++) out[k] = f(x[k]);
}
function activationBackward(kind, dout, x, dx) {
  const { slope } = ACTIVATIONS[kind];
  for (let k = 0; k < x.length; k++) dx[k] = dout[k] * slope(x[k]);
}
