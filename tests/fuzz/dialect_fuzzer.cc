// What no input may do to a decoder: crash it, make it read past the end, take more than a head, or
// let an answer change when more bytes come. A libFuzzer target where the compiler has it (preset
// fuzz); else a program that replays the files it is given, which is how the recordings are a test
// everywhere.

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "bridge/wire/dialects.h"
#include "tests/fuzz/check_dialect.h"

namespace backup::wire {
// A stream of requests: each that can be decoded is followed by the next.
void CheckStream(absl::string_view bytes) {
  static const DialectSet& set = *new DialectSet(*DialectSet::Make({}, {}));
  while (true) {
    const DialectSet::Candidates found = set.FindCandidates(bytes, set.all());
    size_t request_size = 0;
    for (const Dialect& dialect : set.dialects()) {
      if ((found.claiming & set.MaskOf(dialect)) == 0) continue;
      CheckDialect(dialect, bytes);
      const auto head = dialect.DecodeHead(bytes);
      if (head.ok() && head->has_value()) request_size = (*head)->head_size + (*head)->body_size;
    }
    if (request_size == 0 || request_size > bytes.size()) break;
    bytes.remove_prefix(request_size);
  }
  DetectForeignProtocol(bytes);
}

}  // namespace backup::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  backup::wire::CheckStream({reinterpret_cast<const char*>(data), size});
  return 0;
}
