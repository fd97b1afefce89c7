// reference/rmsnorm.py: divide each position's channels by their root mean square, then scale.

// rmsnorm_forward
function rmsnormForward(x, { weight }, eps, { rstd, xhat, out }) {
  const T = rstd.length, C = weight.length;
  for (let t = 0; t < T; t++) {
    let squares = 0;
    for (let k = t * C; k < (t + 1) * C; k++) squares += x[k] * x[k];
    rstd[t] = 1 / Math.sqrt(squares / C + eps);
    for (let c = 0; c < C; c++) {
      xhat[t * C + c] = x[t * C + c] * rstd[t];
      out[t * C + c] = xhat[t * C + c] * weight[c];
    }
  }
}

// rmsnorm_backward
function rmsnormBackward(dout, { weight }, { rstd, xhat }, { dx, dxhat, dweight }) {
  const T = rstd.length, C = weight.length;
  dweight.fill(0);
  for (let t = 0; t < T; t++) {
    let alongXhat = 0;
    for (let c = 0; c < C; c++) {
      const k = t * C + c;
      // forward: out = xhat * weight
      dweight[c] += dout[k] * xhat[k];
      dxhat[k] = dout[k] * weight[c];
      alongXhat += dxhat[k] * xhat[k] / C;
    }
    // forward: xhat = x * rstd
    for (let k = t * C; k < (t + 1) * C; k++) dx[k] = (dxhat[k] - xhat[k] * alongXhat) * rstd[t];
  }
}
NORMS.rmsnorm = { forward: rmsnormForward, backward: rmsnormBackward, statistics: ["rstd"] };
