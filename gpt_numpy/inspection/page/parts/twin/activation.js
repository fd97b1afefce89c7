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

// sigmoid
function sigmoid(x) { return 1 / (1 + Math.exp(-x)); }

// swiglu_forward: in each row of x, F gates and then F values
function swigluForward(x, out, T) {
  const F = out.length / T;
  for (let k = 0; k < out.length; k++) {
    const gate = k + Math.floor(k / F) * F;
    out[k] = x[gate] * sigmoid(x[gate]) * x[gate + F];
  }
}
// swiglu_backward
function swigluBackward(dout, x, dx, T) {
  const F = dout.length / T;
  for (let k = 0; k < dout.length; k++) {
    const gate = k + Math.floor(k / F) * F, a = x[gate], s = sigmoid(a);
    // forward: out = a s b
    dx[gate] = dout[k] * x[gate + F] * s * (1 + a * (1 - s));
    dx[gate + F] = dout[k] * a * s;
  }
}

function activationForward(kind, x, out, T) {
  if (kind === "swiglu") { swigluForward(x, out, T); return; }
  const { f } = ACTIVATIONS[kind];
  for (let k = 0; k < x.length; k++) out[k] = f(x[k]);
}
function activationBackward(kind, dout, x, dx, T) {
  if (kind === "swiglu") { swigluBackward(dout, x, dx, T); return; }
  const { slope } = ACTIVATIONS[kind];
  for (let k = 0; k < x.length; k++) dx[k] = dout[k] * slope(x[k]);
}
