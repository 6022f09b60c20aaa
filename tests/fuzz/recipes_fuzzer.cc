// A row of a recipe is what was written, or refused.

#include "absl/strings/string_view.h"
#include "base/error.h"
#include "glog/logging.h"
#include "storage/sqlite/chunk_rows.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {

void TryInput(absl::string_view bytes) {
  const auto entries = storage::DecodeEntries(bytes);
  if (entries.ok()) {
    CHECK(storage::EncodeEntries(*entries) == bytes);
  } else {
    CHECK(ReasonOf(entries.status()) == Reason::kStateCorrupt);
  }
}

}  // namespace backup::fuzz
