#include "torch/codes.hpp"

#include <algorithm>

namespace cairn::torch_part {
namespace {

constexpr int kPlanes = 7, kCodes = 1 << kPlanes;

// Any vector as a tensor of its own on the device.
template <class T>
at::Tensor upload(const std::vector<T>& values, at::ScalarType type, at::Device device) {
  return at::from_blob(const_cast<T*>(values.data()), {static_cast<int64_t>(values.size())}, type)
      .clone()
      .to(device);
}

}  // namespace

Codes::Codes(const stack::TorchJob& job, at::Device device) : job_(job), device_(device) {
  std::vector<float> tables((kPlanes + 1) * kCodes), scales;
  for (int level = 1; level <= kPlanes; ++level) {
    const auto table = job.tables.subspan((size_t{1} << level) - 2);
    for (int code = 0; code < kCodes; ++code)
      tables[static_cast<size_t>(level * kCodes + code)] =
          table[static_cast<size_t>(code >> (kPlanes - level))];
  }
  tables_ = upload(tables, at::kFloat, device);
  for (const stack::CodedMatrix& from : job.matrices) {
    Matrix& m = matrices_[from.name];
    m.from = &from;
    std::vector<uint8_t> codes(from.codes.size());
    for (size_t row = 0; row < from.rows; ++row)
      std::copy_n(from.codes.begin() + static_cast<ptrdiff_t>(size_t{from.stored[row]} * from.columns),
                  from.columns, codes.begin() + static_cast<ptrdiff_t>(row * from.columns));
    m.codes = upload(codes, at::kByte, device).view({from.rows, from.columns});
    scales.insert(scales.end(), from.scales.begin(), from.scales.end());
    if (at::Tensor& inverse = unrotated_[from.columns]; from.rotated && !inverse.defined())
      inverse =
          upload(job.inverse_rotation(from.columns), at::kFloat, device).view({from.columns, from.columns});
  }
  scales_ = upload(scales, at::kFloat, device);
}

void Codes::set(const stack::Distiller::Work& work) {
  changes_ = upload(std::vector<float>(work.changes.begin(), work.changes.end()), at::kFloat, device_);
  for (size_t i = 0; i < job_.matrices.size(); ++i) {
    const stack::CodedMatrix& from = job_.matrices[i];
    std::vector<int32_t> levels(from.rows);
    std::vector<int64_t> parameters(from.rows);
    std::vector<uint8_t> exact(from.rows);
    for (size_t row = 0; row < from.rows; ++row) {
      const size_t stored = from.stored[row];
      const int level = work.levels[i][stored / from.rows_per_group];
      exact[row] = level > kPlanes;
      levels[row] = std::min(level, kPlanes);
      parameters[row] = static_cast<int64_t>(from.parameter(static_cast<uint8_t>(levels[row]), stored));
    }
    Matrix& m = matrices_[from.name];
    m.any_exact = std::find(exact.begin(), exact.end(), 1) != exact.end();
    m.levels = upload(levels, at::kInt, device_);
    m.parameters = upload(parameters, at::kLong, device_);
    m.exact = upload(exact, at::kByte, device_).to(at::kBool);
  }
}

// What codes stand for, before scales.
at::Tensor Codes::values(const Matrix& m, const at::Tensor& codes, const at::Tensor& levels) const {
  const at::Tensor at = (codes.to(at::kInt) + levels.view({-1, 1}) * kCodes).view(-1);
  return tables_.index_select(0, at).view({-1, m.from->columns});
}

at::Tensor Codes::source_rows(const Matrix& m, int64_t begin, int64_t rows) const {
  const auto read = job_.read(m.from->name, static_cast<uint64_t>(begin), static_cast<uint64_t>(rows));
  return upload(read, at::kFloat, device_).view({rows, m.from->columns});
}

std::pair<at::Tensor, Leaf> Codes::product(const std::string& tensor, int64_t begin, int64_t rows,
                                           const at::Tensor& x) const {
  const Matrix& m = matrices_.at(tensor);
  Leaf leaf;
  leaf.parameters = m.parameters.narrow(0, begin, rows);
  leaf.changes = changes_.index_select(0, leaf.parameters).set_requires_grad(true);
  const at::Tensor w = values(m, m.codes.narrow(0, begin, rows), m.levels.narrow(0, begin, rows));
  const at::Tensor input = m.from->rotated ? x.matmul(unrotated_.at(m.from->columns).t()) : x;
  at::Tensor y = input.matmul(w.t()) * (scales_.index_select(0, leaf.parameters) * (1 + leaf.changes));
  if (m.any_exact) {
    const at::Tensor own = x.matmul(source_rows(m, begin, rows).t());
    y = at::where(m.exact.narrow(0, begin, rows), own, y);
  }
  return {y, leaf};
}

std::pair<at::Tensor, Leaf> Codes::rows(const std::string& tensor, const at::Tensor& tokens) const {
  const Matrix& m = matrices_.at(tensor);
  Leaf leaf;
  leaf.parameters = m.parameters;
  leaf.changes = changes_.index_select(0, m.parameters).set_requires_grad(true);
  const at::Tensor scales = scales_.index_select(0, m.parameters) * (1 + leaf.changes);
  at::Tensor w = values(m, m.codes.index_select(0, tokens), m.levels.index_select(0, tokens)) *
                 scales.index_select(0, tokens).view({-1, 1});
  if (m.from->rotated) w = w.matmul(unrotated_.at(m.from->columns));
  if (m.any_exact) {
    const at::Tensor own = source_rows(m, 0, m.from->rows).index_select(0, tokens);
    w = at::where(m.exact.index_select(0, tokens).view({-1, 1}), own, w);
  }
  return {w, leaf};
}

}  // namespace cairn::torch_part
