#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "legacy_client/file_plan.h"

namespace backup::legacy_client {

// A file as requests of one block of 1024 bytes each, whose contents are encrypted on their own:
// some clients of family B. Stateless.
class Blocks final : public FilePlan {
 public:
  // So much of the file is in each block: what fits behind the head, with its padding.
  static constexpr int64_t kPlaintextSize = 735;

  // As MakeFilePlan().
  static absl::StatusOr<std::unique_ptr<FilePlan>> Plan(const ClientStyle& style, PlannedFile file);

  std::optional<FilePart> Part(int64_t index) const override;
  int64_t claimed_content_size() const override { return claimed_content_size_; }

 private:
  Blocks(PlannedFile file, int64_t claimed_content_size);

  const PlannedFile file_;
  const int64_t claimed_content_size_;
};

}  // namespace backup::legacy_client
