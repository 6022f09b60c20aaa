#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "bridge/wire/dialects.h"
#include "glog/logging.h"

namespace backup::bridge::testing {

// The built-in dialect of this name, in whose text each `first` is replaced by `second`.
inline wire::Dialect ChangedDialect(
    absl::string_view name, const std::vector<std::pair<std::string, std::string>>& changes = {}) {
  for (const wire::Dialect& dialect : wire::BuiltInDialects()) {
    if (dialect.name() != name) continue;
    std::string text(dialect.source());
    for (const auto& [from, to] : changes) {
      CHECK_GT(absl::StrReplaceAll({{from, to}}, &text), 0) << name << " does not say " << from;
    }
    absl::StatusOr<wire::Dialect> changed = wire::ParseDialect(text, "changed.textproto");
    CHECK(changed.ok()) << changed.status();
    return *std::move(changed);
  }
  LOG(FATAL) << "there is no dialect " << name;
}

}  // namespace backup::bridge::testing
