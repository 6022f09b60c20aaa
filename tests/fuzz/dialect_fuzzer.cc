// What no input may do to a decoder: crash it, make it read past the end, take more than a head, or
// let an answer change when more bytes come.

#include <vector>

#include "absl/strings/string_view.h"
#include "bridge/wire/dialects.h"
#include "bridge/wire/testing/unusual_dialects.h"
#include "glog/logging.h"
#include "tests/fuzz/check_dialect.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

// How many bytes the request at the front of `bytes` has; 0 if that is not known.
uint64_t TryDialect(const wire::Dialect& dialect, absl::string_view bytes) {
  wire::CheckDialect(dialect, bytes);
  const auto head = dialect.DecodeHead(bytes);
  if (!head.ok() || !head->has_value()) return 0;
  wire::CheckAnswers(dialect, &(*head)->request);
  wire::TryBarePacket(dialect, **head, bytes.substr((*head)->head_size));
  return (*head)->head_size + (*head)->body_size;
}

// Each on its own: they contradict each other.
void TryUnusualDialects(absl::string_view bytes) {
  static const auto& dialects = *new std::vector<wire::Dialect>(wire::UnusualDialects());
  for (const wire::Dialect& dialect : dialects) {
    const auto header = dialect.DecodeHeader(bytes);
    CHECK(!header || bytes.size() >= dialect.header_size());
    if (!header || !dialect.Claims(*header)) continue;
    CHECK(dialect.MayClaim(bytes.substr(0, dialect.header_size() - 1)));
    TryDialect(dialect, bytes);
  }
}

}  // namespace

// A stream of requests: each that can be decoded is followed by the next.
void TryInput(absl::string_view bytes) {
  static const wire::DialectSet& set = *new wire::DialectSet(*wire::DialectSet::Make({}, {}));
  TryUnusualDialects(bytes);
  while (true) {
    const wire::DialectSet::Candidates found = set.FindCandidates(bytes, set.all());
    if (found.claiming != 0) CHECK(set.MaskOf(set.Prefer(found.claiming)) & found.claiming);
    uint64_t request_size = 0;
    for (const wire::Dialect& dialect : set.dialects()) {
      if ((found.claiming & set.MaskOf(dialect)) == 0) continue;
      if (const uint64_t size = TryDialect(dialect, bytes); size > 0) request_size = size;
    }
    if (request_size == 0 || request_size > bytes.size()) break;
    bytes.remove_prefix(request_size);
  }
  wire::DetectForeignProtocol(bytes);
}

}  // namespace backup::fuzz
