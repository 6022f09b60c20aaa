#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "base/ids.h"
#include "crypto/cipher.h"
#include "storage/catalog/version.h"

namespace backup::content {

// What every blob says about itself, behind its payload, so that the catalog can be rebuilt from
// blobs alone. At the end and not at the front, because checksums are known only when the payload
// has passed (docs/adr). The same bytes, payload and footer, are kept whether a version lives in
// the catalog or in a blob.
//
// Layout, little-endian: fields as EncodeFooterFields(), then wrapped key (u16 size, bytes), then
// the trailer: u32 CRC-32 of everything before it in the footer, u32 size of the footer with
// trailer, 8 bytes "BKPBLOB1". docs/storage.md has each field.
struct BlobFooter {
  ClientId client_id;
  std::string file_name;  // Raw bytes, 1 to kMaxNameSize.
  int64_t version_id = 0;
  int64_t size_bytes = 0;    // Plaintext.
  int64_t encoded_size = 0;  // As it was sent.
  int64_t payload_size = 0;  // Bytes before the footer.
  storage::ChecksumKind checksum_kind = storage::ChecksumKind::kCksumOfPlaintext;
  uint32_t checksum = 0;
  std::string sha256;  // Of the plaintext, 32 bytes.
  storage::StorageForm form = storage::StorageForm::kPlain;
  absl::Time receive_time;  // Kept in microseconds.
  crypto::CbcFormat cbc;    // Of the client's forms; the first two imply it.
  std::string wrapped_key;  // kSealed: the file's key; the client's forms: the session key; both
                            // under the master key.
};

// The client's form of content in this format.
storage::StorageForm FormOf(const crypto::CbcFormat& format);

// Largest encoded footer: names and wrapped keys are bounded (kMaxNameSize, kMaxWrappedKeySize).
inline constexpr size_t kMaxWrappedKeySize = 256;
inline constexpr size_t kMaxFooterSize = 1024;

// All fields but the wrapped key: the data that wrapping the key authenticates, and the footer's
// first part.
std::string EncodeFooterFields(const BlobFooter& footer);

// The whole footer with trailer.
std::string EncodeFooter(const BlobFooter& footer);

// The version whose content it is, as it was when it came: received, and of no upload.
storage::Version VersionOf(const BlobFooter& footer);

// Finds and checks the footer at the end of a blob; every length is checked before it is used.
// Reason BLOB_DAMAGED if there is no whole, intact footer or its payload size disagrees with the
// blob's size.
absl::StatusOr<BlobFooter> ReadFooter(const RandomAccess& blob);

}  // namespace backup::content
