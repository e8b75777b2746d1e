// A stack's matrices on libtorch's device: rows in the source's order, a row's level its group's.
#pragma once

#include <torch/types.h>

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "stack/torch_job.hpp"

namespace cairn::torch_part {

// The changes of some rows' scales as a leaf of autograd, and which parameters they are.
struct Leaf {
  at::Tensor changes, parameters;
};

class Codes {
 public:
  Codes(const stack::TorchJob& job, at::Device device);

  // The prefix and the changes that count from here on.
  void set(const stack::Distiller::Work& work);
  bool has(const std::string& tensor) const { return matrices_.count(tensor) > 0; }

  // x · Wᵀ of rows [begin, begin + rows): [tokens][rows].
  std::pair<at::Tensor, Leaf> product(const std::string& tensor, int64_t begin, int64_t rows,
                                      const at::Tensor& x) const;
  // The rows that tokens name: [tokens][columns].
  std::pair<at::Tensor, Leaf> rows(const std::string& tensor, const at::Tensor& tokens) const;

 private:
  struct Matrix {
    const stack::CodedMatrix* from = nullptr;
    at::Tensor codes;                      // u8 [row][columns]
    at::Tensor levels, parameters, exact;  // [row]: i32, i64, whether it is the source's own
    bool any_exact = false;
  };

  at::Tensor values(const Matrix& m, const at::Tensor& codes, const at::Tensor& levels) const;
  at::Tensor source_rows(const Matrix& m, int64_t begin, int64_t rows) const;

  const stack::TorchJob& job_;
  const at::Device device_;
  std::unordered_map<std::string, Matrix> matrices_;
  std::unordered_map<uint32_t, at::Tensor> unrotated_;  // by width: row i is the inverse of unit vector i
  at::Tensor tables_;                                   // [level][code of 7 bits]
  at::Tensor scales_, changes_;                         // [parameter]
};

}  // namespace cairn::torch_part
