#include "content/measures.h"

namespace backup::content {

using storage::ChecksumKind;

bool IsOfPlaintext(ChecksumKind kind) {
  return kind == ChecksumKind::kCksumOfPlaintext || kind == ChecksumKind::kCrc32OfPlaintext;
}

Checksums SumOf(ChecksumKind kind) {
  Checksums wanted;
  if (kind == ChecksumKind::kCksumOfPlaintext || kind == ChecksumKind::kCksumOfCiphertext) {
    wanted.cksum.emplace();
  } else {
    wanted.crc32.emplace();
  }
  return wanted;
}

}  // namespace backup::content
