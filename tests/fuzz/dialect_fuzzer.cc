// What no input may do to a decoder: crash it, make it read past the end, take more than a head, or
// let an answer change when more bytes come.

#include "absl/strings/string_view.h"
#include "bridge/wire/dialects.h"
#include "tests/fuzz/check_dialect.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {

// A stream of requests: each that can be decoded is followed by the next.
void TryInput(absl::string_view bytes) {
  static const wire::DialectSet& set = *new wire::DialectSet(*wire::DialectSet::Make({}, {}));
  while (true) {
    const wire::DialectSet::Candidates found = set.FindCandidates(bytes, set.all());
    size_t request_size = 0;
    for (const wire::Dialect& dialect : set.dialects()) {
      if ((found.claiming & set.MaskOf(dialect)) == 0) continue;
      wire::CheckDialect(dialect, bytes);
      const auto head = dialect.DecodeHead(bytes);
      if (head.ok() && head->has_value()) request_size = (*head)->head_size + (*head)->body_size;
    }
    if (request_size == 0 || request_size > bytes.size()) break;
    bytes.remove_prefix(request_size);
  }
  wire::DetectForeignProtocol(bytes);
}

}  // namespace backup::fuzz
