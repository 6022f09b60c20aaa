#pragma once

#include <string>
#include <vector>

#include "bridge/wire/compiled_dialect.h"

namespace backup::wire {

// A head of a request, made up.
struct SampleRequest {
  RequestKind kind = RequestKind::kRegister;
  uint32_t code = 0;
  uint32_t version = 0;
  std::string head;
};

// Heads of all requests of a dialect: with each of its codes, each of `versions` that is its own,
// and with all that may be missing and without.
std::vector<SampleRequest> SampleRequestsOf(const Dialect& dialect,
                                            const std::vector<uint32_t>& versions);

}  // namespace backup::wire
