#include "legacy_client/blocks.h"

#include <algorithm>
#include <utility>

#include "legacy_client/cipher.h"
#include "legacy_client/encrypted_file.h"
#include "legacy_client/frames.h"

namespace backup::legacy_client {

absl::StatusOr<std::unique_ptr<FilePlan>> Blocks::Plan(const ClientStyle& style, PlannedFile file) {
  const int64_t ciphertext_size = EncryptedSize(file.plaintext_size, kPlaintextSize);
  const int64_t claimed =
      style.content_size == ContentSize::kPlaintext ? file.plaintext_size : ciphertext_size;
  if (claimed > kMaxFieldValue) {
    return absl::InvalidArgumentError("the protocol has no room for files of 4 GiB and more");
  }
  return std::unique_ptr<FilePlan>(new Blocks(std::move(file), claimed));
}

Blocks::Blocks(PlannedFile file, int64_t claimed_content_size)
    : file_(std::move(file)), claimed_content_size_(claimed_content_size) {}

std::optional<FilePart> Blocks::Part(int64_t index) const {
  const int64_t left = file_.plaintext_size - index * kPlaintextSize;
  if (index > 0 && left <= 0) return std::nullopt;
  const int64_t size = EncryptedSize(std::min(left, kPlaintextSize));
  FilePart part;
  part.head = EncodeFileHead(file_.sender,
                             {FileFieldsSize(file_.sender.family) + size, claimed_content_size_},
                             file_.name);
  part.content_size = size;
  part.padding_size =
      static_cast<int64_t>(BlockPadding(part.head.size() + static_cast<size_t>(size)));
  return part;
}

}  // namespace backup::legacy_client
