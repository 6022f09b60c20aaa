#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/ids.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/version.h"

namespace backup::content {

// Bounds of a pack, footer included.
inline constexpr int64_t kMaxPackSize = int64_t{64} << 20;
inline constexpr size_t kMaxPackChunks = 4096;
inline constexpr size_t kMaxFooterParts = 8192;
inline constexpr size_t kMaxFooterSteps = 16384;  // Of all parts.
// What kMaxPackChunks and kMaxFooterSteps in one part can come to, and the rest. Many parts come to
// more: then this is what bounds them.
inline constexpr int64_t kMaxPackFooterSize = int64_t{1} << 20;

// What every pack says about itself, behind the chunks: docs/storage.md has the layout.
struct PackFooter {
  // Its last eight bytes.
  enum class Format {
    kOnePart,  // BKPPACK1: one part, or none. Nobody writes it any more.
    kParts,    // BKPPACK2
  };
  // A part of the recipe of an upload. Its packs have all parts when they are written, but for the
  // steps before the first new chunk of which there are more than kMaxFooterSteps.
  struct Part {
    std::string content_id;  // 16 bytes, not all of them zero, that name the upload.
    int64_t first_step = 0;
    std::vector<storage::ChunkRef> steps;
    std::optional<storage::Version> version;  // In the last part of an upload.
  };

  Format format = Format::kParts;
  BlobId pack_id;  // Of the blob that it is the footer of.
  storage::StorageForm form = storage::StorageForm::kPlain;  // Or kSealed.
  std::vector<storage::PackedChunk> chunks;                  // In the order of their index.
  std::vector<Part> parts;
  std::string sealed_secret;  // StoreKeys::sealed_secret().
  std::string wrapped_key;    // kSealed: WrapPackKey().
  std::string seal;           // kSealed, of one that was read: CheckPackSeal().
};

// The whole with trailer. `pack_key` seals it if it is of form kSealed. Dies on what no reader
// would take: more than the bounds allow, chunks that overlap or whose indexes do not grow, sizes
// that cannot be.
std::string EncodePackFooter(const PackFooter& footer, absl::string_view pack_key);
// What a part takes of a footer.
int64_t EncodedSize(const PackFooter::Part& part);

// Finds and checks the footer at the end of a pack, in either format; every length and place is
// checked before it is used. Versions have the form of the pack. Reason BLOB_DAMAGED.
absl::StatusOr<PackFooter> ReadPackFooter(const RandomAccess& pack);
// Whether who wrote it had the pack's key (OpenPackKey()): nobody else can change a sealed pack's
// footer. Nothing to check of a plain one. Reason BLOB_DAMAGED.
absl::Status CheckPackSeal(const PackFooter& footer, absl::string_view pack_key);
// Whether it ends as a pack does, rather than as a version's blob (content/blob_footer.h).
absl::StatusOr<bool> IsPack(const RandomAccess& blob);

}  // namespace backup::content
