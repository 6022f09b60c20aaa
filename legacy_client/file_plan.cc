#include "legacy_client/file_plan.h"

#include "legacy_client/blocks.h"
#include "legacy_client/packets.h"
#include "legacy_client/whole_file.h"

namespace backup::legacy_client {

int64_t ChunkSize(const ClientStyle& style) {
  if (style.file_style == FileStyle::kBlocks) return Blocks::kPlaintextSize;
  return style.file_style == FileStyle::kChunks ? *style.packet_size : 0;
}

absl::StatusOr<std::unique_ptr<FilePlan>> MakeFilePlan(const ClientStyle& style, PlannedFile file) {
  if (style.file_style == FileStyle::kBlocks) return Blocks::Plan(style, std::move(file));
  return TraitsOf(style.family).sends_packets ? Packets::Plan(style, std::move(file))
                                              : WholeFile::Plan(style, std::move(file));
}

}  // namespace backup::legacy_client
