#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "legacy_client/client_style.h"
#include "legacy_client/encrypted_file.h"
#include "legacy_client/frames.h"

namespace backup::legacy_client {

// One part of a file: its head, which bare blocks have not, then a part of the content, then zero
// bytes.
struct FilePart {
  std::string head;
  int64_t content_size = 0;
  int64_t padding_size = 0;
};

// A file as it is to be planned.
struct PlannedFile {
  ClientId id;  // As it goes into the requests.
  std::string name;
  int64_t plaintext_size = 0;
};

// How much ciphertext the first block of a file has, at most: what fits behind the head into the
// first message. The style must be complete, here and below, but for what encryption follows from.
int64_t FirstBlockSize(const ClientStyle& style);

// How one file becomes requests: as a whole, in packets or in blocks. Immutable.
class FilePlan {
 public:
  // InvalidArgument if the dialect, or this style of it, has no room for the file. `frames`, of the
  // same style, must outlive the plan.
  static absl::StatusOr<FilePlan> Make(const ClientStyle& style, const Frames& frames,
                                       PlannedFile file);

  // The parts in order, from index 0; nothing after the last.
  std::optional<FilePart> Part(int64_t index) const;
  // What the server must answer as the content size: that of the first request.
  int64_t claimed_content_size() const { return SizesOf(0).claimed_content_size; }
  // All of the content, on the wire.
  int64_t content_size() const { return WireSize(all_); }

 private:
  // Of the file, or of what is encrypted on its own in it.
  struct Sizes {
    int64_t plaintext_size = 0;
    int64_t ciphertext_size = 0;
  };
  struct PartSizes {
    int64_t content_size = 0;  // As it is.
    int64_t claimed_content_size = 0;
    int64_t original_size = 0;
  };

  FilePlan(const ClientStyle& style, const Frames& frames, PlannedFile file);

  const bridge::v1::FileContent& content() const { return FileRequestOf(style_.dialect).content(); }
  absl::Status CheckRoom() const;
  bool IsInPackets() const { return content().has_packets(); }
  bool IsInBlocks() const { return content().has_blocks(); }
  int64_t CountParts() const;
  Sizes SizesOfChunk(int64_t index) const;
  PartSizes SizesOf(int64_t index) const;
  int64_t WireSize(const Sizes& sizes) const;
  int64_t ClaimedSize(const Sizes& sizes) const;
  // The content size of a packet that has all it can have.
  int64_t FullPacketSize() const;
  int64_t CountedPayloadSize(int64_t fields_size, int64_t body_size) const;
  // What the part has behind its content besides the padding of the message.
  int64_t FilledUp(int64_t index, int64_t content_size) const;
  std::string Head(int64_t index, const PartSizes& sizes, int64_t body_size) const;

  const ClientStyle style_;
  const EncryptionOptions encryption_;
  const Frames& frames_;
  const PlannedFile file_;
  const Sizes all_;
  const int64_t total_;  // Parts, but for the extra one.
};

}  // namespace backup::legacy_client
