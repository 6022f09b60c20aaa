#pragma once

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "legacy_client/file_plan.h"

namespace backup::legacy_client {

// A file as one request, whose payload size may or may not tell how long it is: families A, B and
// C. Stateless.
class WholeFile final : public FilePlan {
 public:
  // As MakeFilePlan().
  static absl::StatusOr<std::unique_ptr<FilePlan>> Plan(const ClientStyle& style, PlannedFile file);

  std::optional<FilePart> Part(int64_t index) const override;
  int64_t claimed_content_size() const override { return head_.content_size; }

 private:
  WholeFile(PlannedFile file, const FileHead& head) : file_(std::move(file)), head_(head) {}

  const PlannedFile file_;
  const FileHead head_;
};

}  // namespace backup::legacy_client
