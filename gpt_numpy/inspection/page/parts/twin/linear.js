// reference/linear.py: every position's channels times one weight matrix, plus a bias.

// linear_forward
function linearForward(x, weight, bias, out) {
  product(x, weight, out);
  if (bias) {
    for (let r = 0; r < out.rows; r++) for (let o = 0; o < out.cols; o++) out.data[out.start + r * out.row + o * out.col] += bias[o];
  }
}

// linear_backward
function linearBackward(dout, x, weight, { dx, dweight, dbias }) {
  // forward: out = x @ weight + bias
  product(dout, transposed(weight), dx);
  product(transposed(x), dout, dweight);
  if (dbias) {
    dbias.fill(0);
    for (let r = 0; r < dout.rows; r++) for (let o = 0; o < dout.cols; o++) dbias[o] += dout.data[dout.start + r * dout.row + o * dout.col];
  }
}
