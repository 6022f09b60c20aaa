#include "bridge/testing/test_dialects.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "bridge/testing/changed_dialect.h"
#include "glog/logging.h"

namespace backup::bridge::testing {

wire::Dialect VariantOfC(absl::string_view name, absl::string_view more) {
  return ChangedDialect("C", {{"\nname: \"C\"", absl::StrCat("\nname: \"", name, "\"\n", more)},
                              {"codes: 10", "codes: 50"}});
}

wire::DialectSet DialectsWith(std::vector<wire::Dialect> further,
                              const wire::DialectSet::Options& options) {
  absl::StatusOr<wire::DialectSet> dialects = wire::DialectSet::Make(std::move(further), options);
  CHECK(dialects.ok()) << dialects.status();
  return *std::move(dialects);
}

}  // namespace backup::bridge::testing
