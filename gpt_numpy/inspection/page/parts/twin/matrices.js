// Matrices and their products, in float64. What NumPy has built in and a browser has not.

// Numbers of `data` seen as rows and columns: a transpose, or one head of many, is only another view.
function view(data, rows, cols, start = 0, row = cols, col = 1) { return { data, rows, cols, start, row, col }; }
function transposed({ data, rows, cols, start, row, col }) { return { data, rows: cols, cols: rows, start, row: col, col: row }; }
function zeros(count) { return new Float64Array(count); }

// out = a @ b * scale, added to what is there if `more`. Tiles of 4 x 4 numbers stay in registers while k runs.
function product(a, b, out, scale = 1, more = false) {
  const n = a.rows, m = b.cols;
  for (let i = 0; i < n; i += 4) {
    for (let j = 0; j < m; j += 4) {
      if (i + 4 <= n && j + 4 <= m) tile(a, b, out, scale, more, i, j);
      else edge(a, b, out, scale, more, i, Math.min(i + 4, n), j, Math.min(j + 4, m));
    }
  }
}

function tile(a, b, out, scale, more, i, j) {
  const A = a.data, B = b.data, count = a.cols, down = a.row, next = a.col, below = b.row, right = b.col;
  let c00 = 0, c01 = 0, c02 = 0, c03 = 0, c10 = 0, c11 = 0, c12 = 0, c13 = 0;
  let c20 = 0, c21 = 0, c22 = 0, c23 = 0, c30 = 0, c31 = 0, c32 = 0, c33 = 0;
  let p = a.start + i * down, q = b.start + j * right;
  for (let k = 0; k < count; k++, p += next, q += below) {
    const a0 = A[p], a1 = A[p + down], a2 = A[p + 2 * down], a3 = A[p + 3 * down];
    const b0 = B[q], b1 = B[q + right], b2 = B[q + 2 * right], b3 = B[q + 3 * right];
    c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
    c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
    c20 += a2 * b0; c21 += a2 * b1; c22 += a2 * b2; c23 += a2 * b3;
    c30 += a3 * b0; c31 += a3 * b1; c32 += a3 * b2; c33 += a3 * b3;
  }
  const rows = [[c00, c01, c02, c03], [c10, c11, c12, c13], [c20, c21, c22, c23], [c30, c31, c32, c33]];
  for (let y = 0; y < 4; y++) {
    for (let x = 0; x < 4; x++) {
      const place = out.start + (i + y) * out.row + (j + x) * out.col;
      out.data[place] = rows[y][x] * scale + (more ? out.data[place] : 0);
    }
  }
}

function edge(a, b, out, scale, more, top, bottom, left, end) {
  for (let i = top; i < bottom; i++) {
    for (let j = left; j < end; j++) {
      let sum = 0;
      for (let k = 0; k < a.cols; k++) sum += a.data[a.start + i * a.row + k * a.col] * b.data[b.start + k * b.row + j * b.col];
      const place = out.start + i * out.row + j * out.col;
      out.data[place] = sum * scale + (more ? out.data[place] : 0);
    }
  }
}
