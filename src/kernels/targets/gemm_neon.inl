// Part of gemm.cpp: the product on ARM64, signed bytes on both sides.

// Stores or adds a row's sums of a block of k.
HWY_INLINE void put(VF sum, bool first, float* HWY_RESTRICT out) {
  hn::StoreU(first ? sum : hn::Add(sum, hn::LoadU(df, out)), df, out);
}

// Compilers move loads up, and sums down, until registers run out: no load passes this, and pin() holds sums.
HWY_INLINE void no_loads_before() {
  if constexpr (CAIRN_HAS_SDOT) __asm__ volatile("" ::: "memory");
}

#if CAIRN_HAS_SMMLA
// Two rows by two tokens an instruction: lanes are row 0 and token 0, row 0 and token 1, row 1 and token 0, …
constexpr size_t kRowPairs = kRows / 2, kTokenPairs = kTile / 2;
static_assert(kRows % 2 == 0);

// Two rows' scales, twice each.
HWY_INLINE VF of_rows(const float* from) {
  const float32x4_t two = vcombine_f32(vld1_f32(from), vdup_n_f32(0));
  return VF{vzip1q_f32(two, two)};
}

// tokens[t]: tokens 2t and 2t + 1, twice.
HWY_INLINE void of_tokens(const float* from, VF (&tokens)[kTokenPairs]) {
  CAIRN_UNROLL(kVectors, v, const float64x2_t four = vreinterpretq_f64_f32(vld1q_f32(from + v * kLanes));
               tokens[2 * v] = VF{vreinterpretq_f32_f64(vdupq_laneq_f64(four, 0))};
               tokens[2 * v + 1] = VF{vreinterpretq_f32_f64(vdupq_laneq_f64(four, 1))});
}

template <bool>
HWY_INLINE void micro_values(const WeightPanel& panel, size_t row, size_t k, size_t begin, size_t end,
                             const ActivationTile& tile, float* HWY_RESTRICT out) {
  const size_t groups = k / kGroup;
  const int8_t* HWY_RESTRICT weights[kRowPairs];
  CAIRN_UNROLL(kRowPairs, p, weights[p] = panel.values + (row + 2 * p) * k + 2 * begin);
  const int8_t* HWY_RESTRICT a = tile.values + begin * kTile;
  const float* HWY_RESTRICT x_scales = tile.scales + begin / kGroup * kTile;
  const float* HWY_RESTRICT scales = panel.scales + row * groups + begin / kGroup * kRows;
  VF sum[kRowPairs][kTokenPairs];
  CAIRN_UNROLL(kRowPairs, p, CAIRN_UNROLL(kTokenPairs, t, sum[p][t] = hn::Zero(df)));
  for (size_t group = begin / kGroup; group < end / kGroup; ++group) {
    VI acc[kRowPairs][kTokenPairs];
    CAIRN_UNROLL(kRowPairs, p, CAIRN_UNROLL(kTokenPairs, t, acc[p][t] = hn::Zero(di)));
    CAIRN_UNROLL(kGroup / kStepOfK, step, {
      int8x16_t x[kTokenPairs];
      CAIRN_UNROLL(kTokenPairs, t, x[t] = vld1q_s8(a + step * kTile * kStepOfK + t * 16));
      CAIRN_UNROLL(kRowPairs, p, const int8x16_t w = vld1q_s8(weights[p] + step * 16); CAIRN_UNROLL(
                       kTokenPairs, t, acc[p][t] = VI{vmmlaq_s32(acc[p][t].raw, w, x[t])}; pin(acc[p][t])));
    });
    a += kGroup * kTile;
    no_loads_before();
    VF scale[kTokenPairs];
    of_tokens(x_scales, scale);
    CAIRN_UNROLL(kRowPairs, p, {
      weights[p] += 2 * kGroup;
      const VF s = of_rows(scales + 2 * p);
      CAIRN_UNROLL(kTokenPairs, t,
                   sum[p][t] = hn::MulAdd(hn::ConvertTo(df, acc[p][t]), hn::Mul(s, scale[t]), sum[p][t]);
                   pin(sum[p][t]));
    });
    x_scales += kTile;
    scales += kRows;
  }
  CAIRN_UNROLL(kRowPairs, p, CAIRN_UNROLL(kVectors, v, {
                 const float64x2_t low = vreinterpretq_f64_f32(sum[p][2 * v].raw);
                 const float64x2_t high = vreinterpretq_f64_f32(sum[p][2 * v + 1].raw);
                 float* to = out + (row + 2 * p) * kTile + v * kLanes;
                 put(VF{vreinterpretq_f32_f64(vzip1q_f64(low, high))}, begin == 0, to);
                 put(VF{vreinterpretq_f32_f64(vzip2q_f64(low, high))}, begin == 0, to + kTile);
               }));
}

// Four tokens' values of a group, x in [32][kTile], to where the product reads them.
HWY_INLINE void quantize_group(const float* HWY_RESTRICT x, VF inverse, int8_t* HWY_RESTRICT out) {
  for (size_t i = 0; i < kGroup; i += kStepOfK) {
    VI word[2] = {hn::Zero(di), hn::Zero(di)};
    CAIRN_UNROLL(kStepOfK, j,
                 const VI q = hn::NearestInt(hn::Mul(hn::LoadU(df, x + (i + j) * kTile), inverse));
                 word[j / 4] = hn::Or(word[j / 4], hn::ShiftLeft<j % 4 * 8>(hn::And(q, hn::Set(di, 255)))));
    hn::StoreInterleaved2(word[0], word[1], di, reinterpret_cast<int32_t*>(out + i * kTile));
  }
}

// ActivationTile's sums of a group, for a vector of the tile: what products start with is nothing here.
HWY_INLINE void store_sums(const int8_t* HWY_RESTRICT values, VF scale, size_t at, size_t,
                           const ActivationTile& tile) {
  VI sums[2] = {hn::Zero(di), hn::Zero(di)};  // of tokens 0 and 1, of 2 and 3, two of each
  CAIRN_UNROLL(kGroup / kStepOfK, i, CAIRN_UNROLL(2, h, {
                 const VS8 x = hn::LoadU(ds8, values + i * kStepOfK * kTile + h * 16);
                 sums[h] = DotNative(sums[h], hn::Set(ds8, int8_t{1}), x);
               }));
  const VI total{vpaddq_s32(sums[0].raw, sums[1].raw)};
  hn::StoreU(hn::Mul(scale, hn::ConvertTo(df, total)), df, tile.sums + at);
}
#else
HWY_INLINE void store_sums(const int8_t* HWY_RESTRICT values, VF scale, size_t at, size_t,
                           const ActivationTile& tile) {
  VI total = hn::Zero(di);
  CAIRN_UNROLL(kGroup / 4, i,
               total = DotNative(total, hn::Set(ds8, int8_t{1}), hn::LoadU(ds8, values + i * 4 * kTile)));
  hn::StoreU(hn::Mul(scale, hn::ConvertTo(df, total)), df, tile.sums + at);
}

#if CAIRN_HAS_SDOT
// Σ over a group of rows' weights and tokens' values: a row's 16 weights are a vector, of which an
// instruction takes four for four tokens.
template <bool kCodes>
HWY_INLINE void dot_group(const int8_t* HWY_RESTRICT const* weights, const int8_t* HWY_RESTRICT a,
                          VI (&acc)[kRows][kVectors]) {
  CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::Zero(di)));
  CAIRN_UNROLL(kGroup / 16, part, {
    int8x16_t w[kRows];
    CAIRN_UNROLL(kRows, r, w[r] = vld1q_s8(weights[r] + part * 16));
    CAIRN_UNROLL(4, step, {
      VS8 x[kVectors];
      CAIRN_UNROLL(kVectors, v, x[v] = load_values(a, part * 16 + step * 4, v));
      CAIRN_UNROLL(
          kRows, r,
          CAIRN_UNROLL(kVectors, v, acc[r][v] = VI{vdotq_laneq_s32(acc[r][v].raw, x[v].raw, w[r], step)};
                       pin(acc[r][v])));
    });
  });
}
#else
// The same by products summed in 16 bits, two lanes a token: of codes, at most 31, all eight of a group; of
// other values two, 128 · 127 · 2 = 32,512.
HWY_INLINE void multiply_add(int16x8_t (&to)[2], bool first, int8x16_t x, int8x16_t w) {
  if (first) {
    to[0] = vmull_s8(vget_low_s8(x), vget_low_s8(w));
    to[1] = vmull_high_s8(x, w);
  } else {
    to[0] = vmlal_s8(to[0], vget_low_s8(x), vget_low_s8(w));
    to[1] = vmlal_high_s8(to[1], x, w);
  }
}

template <bool kCodes>
HWY_INLINE void dot_group(const int8_t* HWY_RESTRICT const* weights, const int8_t* HWY_RESTRICT a,
                          VI (&acc)[kRows][kVectors]) {
  if constexpr (kCodes) {
    int16x8_t products[kRows][kVectors][2];
    CAIRN_UNROLL(kGroup / 4, step, {
      VS8 x[kVectors];
      CAIRN_UNROLL(kVectors, v, x[v] = load_values(a, step * 4, v));
      CAIRN_UNROLL(kRows, r, const int8x16_t w = broadcast4(weights[r] + step * 4).raw;
                   CAIRN_UNROLL(kVectors, v, multiply_add(products[r][v], step == 0, x[v].raw, w)));
    });
    CAIRN_UNROLL(kRows, r,
                 CAIRN_UNROLL(kVectors, v,
                              acc[r][v] = VI{vpaddq_s32(vpaddlq_s16(products[r][v][0]),
                                                        vpaddlq_s16(products[r][v][1]))}));
  } else {
    int32x4_t sums[kRows][kVectors][2];
    CAIRN_UNROLL(kGroup / 8, part, {
      VS8 x[kVectors][2];
      CAIRN_UNROLL(kVectors, v, CAIRN_UNROLL(2, i, x[v][i] = load_values(a, part * 8 + i * 4, v)));
      CAIRN_UNROLL(kRows, r, const VS8 w = broadcast4(weights[r] + part * 8);
                   const VS8 next = broadcast4(weights[r] + part * 8 + 4); CAIRN_UNROLL(kVectors, v, {
                     int16x8_t products[2];
                     multiply_add(products, true, x[v][0].raw, w.raw);
                     multiply_add(products, false, x[v][1].raw, next.raw);
                     CAIRN_UNROLL(2, h, int32x4_t& to = sums[r][v][h];
                                  to = part == 0 ? vpaddlq_s16(products[h]) : vpadalq_s16(to, products[h]);
                                  __asm__ volatile(""
                                                   : "+w"(to)));
                   }));
    });
    CAIRN_UNROLL(kRows, r,
                 CAIRN_UNROLL(kVectors, v, acc[r][v] = VI{vpaddq_s32(sums[r][v][0], sums[r][v][1])}));
  }
}
#endif

template <bool kCodes>
HWY_INLINE void micro_values(const WeightPanel& panel, size_t row, size_t k, size_t begin, size_t end,
                             const ActivationTile& tile, float* HWY_RESTRICT out) {
  const size_t groups = k / kGroup;
  const int8_t* HWY_RESTRICT weights[kRows];
  CAIRN_UNROLL(kRows, r, weights[r] = panel.values + (row + r) * k + begin);
  const int8_t* HWY_RESTRICT a = tile.values + begin * kTile;
  const float* HWY_RESTRICT x_scales = tile.scales + begin / kGroup * kTile;
  const float* HWY_RESTRICT scales = panel.scales + row * groups + begin / kGroup * kRows;
  VF sum[kRows][kVectors];
  CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, sum[r][v] = hn::Zero(df)));
  for (size_t group = begin / kGroup; group < end / kGroup; ++group) {
    VI acc[kRows][kVectors];
    dot_group<kCodes>(weights, a, acc);
    a += kGroup * kTile;
    no_loads_before();
    VF scale[kVectors];
    CAIRN_UNROLL(kVectors, v, scale[v] = hn::LoadU(df, x_scales + v * kLanes));
    CAIRN_UNROLL(kRows, r, {
      weights[r] += kGroup;
      const float s = scales[r];
      CAIRN_UNROLL(
          kVectors, v,
          sum[r][v] = hn::MulAdd(hn::ConvertTo(df, acc[r][v]), VF{vmulq_n_f32(scale[v].raw, s)}, sum[r][v]);
          if constexpr (CAIRN_HAS_SDOT) pin(sum[r][v]));
    });
    x_scales += kTile;
    scales += kRows;
  }
  CAIRN_UNROLL(kRows, r,
               CAIRN_UNROLL(kVectors, v, put(sum[r][v], begin == 0, out + (row + r) * kTile + v * kLanes)));
}
#endif

// out += Σ of the rows' offsets times the tokens' sums of x, apart from the rest: beside that, registers are
// too few.
HWY_INLINE void add_offsets(const WeightPanel& panel, size_t row, size_t k, size_t begin, size_t end,
                            const ActivationTile& tile, float* HWY_RESTRICT out) {
  const size_t groups = k / kGroup, stop = end / kGroup;
  const float* HWY_RESTRICT offsets = panel.offsets + row * groups;
  float* HWY_RESTRICT to = out + row * kTile;
  VF sum[kRows][kVectors];
  CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, sum[r][v] = hn::LoadU(df, to + r * kTile + v * kLanes)));
  size_t group = begin / kGroup;
  for (; group + 4 <= stop; group += 4) {
    float32x4_t offset[kRows];
    CAIRN_UNROLL(kRows, r, offset[r] = vld1q_f32(offsets + r * groups + group));
    CAIRN_UNROLL(4, g, CAIRN_UNROLL(kVectors, v, {
                   const float32x4_t x = vld1q_f32(tile.sums + (group + g) * kTile + v * kLanes);
                   CAIRN_UNROLL(kRows, r, sum[r][v] = VF{vfmaq_laneq_f32(sum[r][v].raw, x, offset[r], g)});
                 }));
  }
  for (; group < stop; ++group) {
    CAIRN_UNROLL(kVectors, v, {
      const float32x4_t x = vld1q_f32(tile.sums + group * kTile + v * kLanes);
      CAIRN_UNROLL(kRows, r, sum[r][v] = VF{vfmaq_n_f32(sum[r][v].raw, x, offsets[r * groups + group])});
    });
  }
  CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, hn::StoreU(sum[r][v], df, to + r * kTile + v * kLanes)));
}
