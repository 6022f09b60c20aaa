#pragma once

#include "absl/strings/string_view.h"
#include "bridge/wire/dialect.h"
#include "glog/logging.h"

namespace backup::wire {

// Dies if `dialect` breaks a promise of bridge/wire/dialect.h over `bytes`.
inline void CheckDialect(const Dialect& dialect, absl::string_view bytes) {
  const auto whole = dialect.DecodeHead(bytes);
  if (whole.ok() && !whole->has_value()) CHECK_LT(bytes.size(), kMaxHeadSize);
  if (!whole.ok() || !whole->has_value()) return;
  const size_t head_size = (*whole)->head_size;
  CHECK_LE(head_size, bytes.size());
  CHECK_LE(head_size, kMaxHeadSize);
  // The head alone says the same, and one byte less does not yet.
  const auto alone = dialect.DecodeHead(bytes.substr(0, head_size));
  CHECK(alone.ok() && alone->has_value() && (*alone)->body_size == (*whole)->body_size);
  const auto less = dialect.DecodeHead(bytes.substr(0, head_size - 1));
  CHECK(less.ok() && !less->has_value());
}

}  // namespace backup::wire
