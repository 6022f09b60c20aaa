#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "content/pack_footer.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/version.h"

namespace backup::content {

// What packs tell of one content, gathered part by part from their footers. Used by one thread at a
// time.
class ToldContent {
 public:
  // All parts have the same content id; they may come in any order, and repeatedly.
  void Add(const PackFooter::Part& part);

  // None as long as the last part is missing.
  const std::optional<storage::Version>& version() const { return version_; }
  // In the order of the content, up to the first that is missing.
  std::vector<storage::ChunkRef> Steps() const;
  // Whether its version and all its steps are known.
  bool IsWhole() const;

 private:
  std::optional<storage::Version> version_;
  std::map<int64_t, std::vector<storage::ChunkRef>> steps_;  // By the number of the first.
};

}  // namespace backup::content
