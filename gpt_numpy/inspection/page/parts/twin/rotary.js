// reference/rotary.py: a query or key turns with its position, so that a score depends on distances.

// rotation_table: the angle of a pair of channels, i < D / 2, at a position
function rotationAngle(t, i, D, base) { return t * base ** (-2 * i / D); }

// turn and turn_back: one head, in place; `sign` is -1 for the opposite angles
function turnHead({ data, rows, cols: D, start, row }, base, sign) {
  for (let t = 0; t < rows; t++) {
    for (let i = 0; i < D / 2; i++) {
      const angle = rotationAngle(t, i, D, base), cos = Math.cos(angle), sin = sign * Math.sin(angle);
      const k = start + t * row + i, first = data[k], second = data[k + D / 2];
      data[k] = first * cos - second * sin;
      data[k + D / 2] = second * cos + first * sin;
    }
  }
}
