// Part of planes.cpp: the products of bit planes as loops over single weights.
// The value of row r of a tile's step, column 4 · i + c; at: the step's first byte.
HWY_INLINE int8_t value(const PlaneRows& rows, const PlaneTable& table, size_t at, size_t r, size_t i,
                        size_t c) {
  unsigned code = 0;
  for (uint32_t plane = 0; plane < rows.level; ++plane)
    code = 2 * code + (static_cast<unsigned>(rows.planes[plane][at + 4 * r + c]) >> i & 1);
  return table_value(rows.level, table, code);
}

void gemv_batch(const PlaneRows& rows, const PlaneTable& table, size_t k, const PlaneVector* x, size_t count,
                const PlaneRows&, float* y, size_t y_stride) {
  const size_t steps = k / kPlaneColumns;
  for (size_t row = 0; row < size_t{rows.tiles} * kPlaneRows; ++row) {
    float scales[kPlaneRows];
    load_scales(rows.scales + row / kPlaneRows * kPlaneRows, scales);
    constexpr size_t kMost = 8;  // tokens that share a row's unpacking
    for (size_t first = 0; first < count; first += kMost) {
      const size_t tokens = count - first < kMost ? count - first : kMost;
      int32_t sums[kMost] = {};
      for (size_t step = 0; step < steps; ++step) {
        const size_t at = (row / kPlaneRows * steps + step) * kPlaneBytes;
        for (size_t column = 0; column < kPlaneColumns; ++column) {
          const int8_t w = value(rows, table, at, row % kPlaneRows, column / 4, column % 4);
          for (size_t i = 0; i < tokens; ++i)
            sums[i] += w * x[first + i].values[step * kPlaneColumns + column];
        }
      }
      for (size_t i = 0; i < tokens; ++i) {
        y[(first + i) * y_stride + row] =
            static_cast<float>(sums[i]) * (scales[row % kPlaneRows] * x[first + i].scale);
      }
    }
  }
}

void gemv(const PlaneRows& rows, const PlaneTable& table, size_t k, const PlaneVector& x,
          const PlaneRows& next, float* y) {
  gemv_batch(rows, table, k, &x, 1, next, y, 0);
}

void fill(const PlaneRows& rows, uint32_t tile, const PlaneTable& table, size_t k, int8_t* panel,
          int32_t* corrections) {
  const size_t steps = k / kPlaneColumns;
  for (size_t r = 0; r < kPlaneRows; ++r) {
    int32_t sum = 0;
    for (size_t step = 0; step < steps; ++step) {
      for (size_t column = 0; column < kPlaneColumns; ++column) {
        const size_t at = (tile * steps + step) * kPlaneBytes;
        const int8_t w = value(rows, table, at, r, column / 4, column % 4);
        panel[step * kPlaneColumns * kPlaneRows + column / 4 * kPlaneBytes + 4 * r + column % 4] = w;
        sum += w;
      }
    }
    corrections[r] = -128 * sum;
  }
}

void multiply(const PlanePanel& panel, const uint8_t* values, const float* lanes, const float* bias,
              float* out) {
  for (size_t r = 0; r < kPlaneRows; ++r) {
    const uint32_t to = panel.destination[r];
    if (to == UINT32_MAX) continue;
    for (size_t t = 0; t < kTile; ++t) {
      int32_t sum = panel.corrections[r];
      for (size_t i = 0; i < panel.k / 4; ++i) {
        for (size_t c = 0; c < 4; ++c)
          sum += values[(i * kTile + t) * 4 + c] * panel.values[i * kPlaneBytes + 4 * r + c];
      }
      out[to * kTile + t] =
          static_cast<float>(sum) * panel.scales[r] * lanes[t] + (bias == nullptr ? 0.0f : bias[to]);
    }
  }
}
