#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "legacy_client/client_style.h"
#include "legacy_client/frames.h"

namespace backup::legacy_client {

// One request of a file: its head, then a part of the ciphertext, then zero bytes.
struct FilePart {
  std::string head;
  int64_t content_size = 0;
  int64_t padding_size = 0;
};

// How one file becomes requests. Stateless.
class FilePlan {
 public:
  virtual ~FilePlan() = default;

  // The requests in order, from index 0; nothing after the last.
  virtual std::optional<FilePart> Part(int64_t index) const = 0;
  // What the server must answer as the content size: that of the first request.
  virtual int64_t claimed_content_size() const = 0;
};

// A file as it is to be planned.
struct PlannedFile {
  Sender sender;
  std::string name;
  int64_t plaintext_size = 0;
};

// Chunks to be encrypted on their own, as EncryptionOptions has them. `style` here and below is
// complete.
int64_t ChunkSize(const ClientStyle& style);

// InvalidArgument if the protocol, or this style of it, has no room for the file.
absl::StatusOr<std::unique_ptr<FilePlan>> MakeFilePlan(const ClientStyle& style, PlannedFile file);

}  // namespace backup::legacy_client
