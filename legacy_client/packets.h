#pragma once

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "legacy_client/file_plan.h"

namespace backup::legacy_client {

// A file as many requests, each with a piece of it: families D and E. Stateless.
class Packets final : public FilePlan {
 public:
  // As MakeFilePlan().
  static absl::StatusOr<std::unique_ptr<FilePlan>> Plan(const ClientStyle& style, PlannedFile file);

  std::optional<FilePart> Part(int64_t index) const override;
  int64_t claimed_content_size() const override { return SizesOf(0).claimed_content_size; }

 private:
  struct Sizes {
    int64_t content_size = 0;  // As it is.
    int64_t claimed_content_size = 0;
    int64_t original_size = 0;
  };

  Packets(const ClientStyle& style, PlannedFile file);

  Sizes SizesOf(int64_t index) const;
  Sizes SizesOfChunk(int64_t index) const;
  Sizes SizesOfSlice(int64_t index) const;
  // The content size of a packet that has all it can have.
  int64_t FullContentSize() const;

  const ClientStyle style_;
  const PlannedFile file_;
  const int64_t total_;  // Packets, but for the extra one.
};

}  // namespace backup::legacy_client
