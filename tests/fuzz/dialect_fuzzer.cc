// What no input may do to a decoder: crash it, make it read past the end, take more than a head, or
// let an answer change when more bytes come. A libFuzzer target where the compiler has it (preset
// fuzz); else a program that replays the files it is given, which is how the recordings are a test
// everywhere.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "bridge/wire/dialects.h"
#include "glog/logging.h"

namespace backup::wire {
namespace {

void CheckDialect(const Dialect& dialect, absl::string_view bytes) {
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

}  // namespace

// A stream of requests: each that can be decoded is followed by the next.
void CheckStream(absl::string_view bytes) {
  while (const std::optional<RequestHeader> header = DecodeHeader(bytes)) {
    size_t request_size = 0;
    for (const Dialect* dialect : FindDialects(*header)) {
      CheckDialect(*dialect, bytes);
      const auto head = dialect->DecodeHead(bytes);
      if (head.ok() && head->has_value()) request_size = (*head)->head_size + (*head)->body_size;
    }
    if (request_size == 0 || request_size > bytes.size()) return;
    bytes.remove_prefix(request_size);
  }
  DetectForeignProtocol(bytes);
}

}  // namespace backup::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  backup::wire::CheckStream({reinterpret_cast<const char*>(data), size});
  return 0;
}
