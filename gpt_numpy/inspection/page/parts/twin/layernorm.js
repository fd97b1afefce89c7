// reference/layernorm.py: bring each position's channels to mean 0 and variance 1, scale and shift.

// layernorm_forward; xhat is stored here, because the page shows it
function layernormForward(x, { weight, bias }, eps, { mean, rstd, xhat, out }) {
  const T = mean.length, C = weight.length;
  for (let t = 0; t < T; t++) {
    const row = x.subarray(t * C, (t + 1) * C);
    let sum = 0, squares = 0;
    for (let c = 0; c < C; c++) sum += row[c];
    mean[t] = sum / C;
    for (let c = 0; c < C; c++) squares += (row[c] - mean[t]) ** 2;
    rstd[t] = 1 / Math.sqrt(squares / C + eps);
    for (let c = 0; c < C; c++) {
      xhat[t * C + c] = (row[c] - mean[t]) * rstd[t];
      out[t * C + c] = xhat[t * C + c] * weight[c] + (bias ? bias[c] : 0);
    }
  }
}

// layernorm_backward
function layernormBackward(dout, { weight }, { rstd, xhat }, { dx, dxhat, dweight, dbias }) {
  const T = rstd.length, C = weight.length;
  dweight.fill(0);
  if (dbias) dbias.fill(0);
  for (let t = 0; t < T; t++) {
    let alongOnes = 0, alongXhat = 0;
    for (let c = 0; c < C; c++) {
      const k = t * C + c;
      // forward: out = xhat * weight + bias
      dweight[c] += dout[k] * xhat[k];
      if (dbias) dbias[c] += dout[k];
      dxhat[k] = dout[k] * weight[c];
      alongOnes += dxhat[k] / C;
      alongXhat += dxhat[k] * xhat[k] / C;
    }
    // forward: xhat = (x - mean) * rstd
    for (let k = t * C; k < (t + 1) * C; k++) dx[k] = (dxhat[k] - alongOnes - xhat[k] * alongXhat) * rstd[t];
  }
}

// By the name that trace/operations.py gives a norm in NORMS. Another norm is one more pair here.
const NORMS = { layernorm: { forward: layernormForward, backward: layernormBackward, statistics: ["mean", "rstd"] } };
