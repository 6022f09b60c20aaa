#include "content/decoding.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/piece_buffers.h"
#include "base/status_macros.h"
#include "crypto/unpadding.h"

namespace backup::content {
namespace {

using crypto::CbcFormat;

// Passes the ciphertext on as it is, and measures the plaintext that is in it.
class MeasuredCiphertextSource final : public ByteSource {
 public:
  MeasuredCiphertextSource(ByteSource& ciphertext, PlaintextMeasures& measures,
                           std::unique_ptr<crypto::Decryptor> decryptor)
      : ciphertext_(ciphertext), measures_(measures), decryptor_(std::move(decryptor)) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (ended_) return absl::string_view();
    ASSIGN_OR_RETURN(const absl::string_view piece, ciphertext_.Read());
    ended_ = piece.empty();
    plain_.resize(std::max(plain_.size(), piece.size() + crypto::kCipherBlockSize));
    ASSIGN_OR_RETURN(const size_t size, ended_ ? decryptor_->Finish(plain_.data())
                                               : decryptor_->Update(piece, plain_.data()));
    measures_.Update(absl::string_view(plain_.data(), size));
    return piece;
  }

 private:
  ByteSource& ciphertext_;
  PlaintextMeasures& measures_;
  const std::unique_ptr<crypto::Decryptor> decryptor_;
  std::string plain_;
  bool ended_ = false;
};

Decryption DecryptPadded(const Encoding& encoding, absl::string_view key,
                         const Checksums& segment_sums) {
  const CbcFormat& format = *encoding.cbc;
  switch (format.cut) {
    case CbcFormat::Cut::kWhole:
      break;
    case CbcFormat::Cut::kSizedSegments: {
      auto segments = std::make_unique<crypto::SegmentDecryptor>(key, encoding.segment_count,
                                                                 segment_sums, format);
      const crypto::SegmentDecryptor& borrowed = *segments;
      return {std::move(segments), &borrowed};
    }
    case CbcFormat::Cut::kEqualSegments:
      return {std::make_unique<crypto::EqualSegmentDecryptor>(key, format, encoding.size_bytes)};
  }
  return {std::make_unique<crypto::CbcDecryptor>(key, format)};
}

}  // namespace

Decryption Decrypt(const Encoding& encoding, absl::string_view session_key,
                   const Checksums& segment_sums) {
  Decryption padded = DecryptPadded(encoding, session_key, segment_sums);
  if (!encoding.plain_size) return padded;
  return {std::make_unique<crypto::UnpaddingDecryptor>(std::move(padded.decryptor),
                                                       *encoding.plain_size, encoding.cbc->padding),
          padded.segments};
}

Decoding<LastingSource> Decode(const Encoding& encoding, absl::string_view session_key,
                               const Checksums& segment_sums, ByteSource& encoded,
                               PieceBudget& budget, Observer observer) {
  if (!encoding.encrypted()) {
    auto plain = std::make_unique<GatherSource>(encoded, budget, encoding.size_bytes);
    plain->set_observer(std::move(observer));
    return {std::move(plain)};
  }
  Decryption decryption = Decrypt(encoding, session_key, segment_sums);
  const auto expected_size =
      encoding.in_sized_segments() ? std::nullopt : std::optional(encoding.size_bytes);
  auto plain = std::make_unique<crypto::DecryptSource>(encoded, budget, expected_size,
                                                       std::move(decryption.decryptor));
  plain->set_observer(std::move(observer));
  return {std::move(plain), decryption.segments};
}

Decoding<ByteSource> DecodeBeside(const Encoding& encoding, absl::string_view session_key,
                                  const Checksums& segment_sums, ByteSource& encoded,
                                  PlaintextMeasures& measures) {
  Decryption decryption = Decrypt(encoding, session_key, segment_sums);
  return {std::make_unique<MeasuredCiphertextSource>(encoded, measures,
                                                     std::move(decryption.decryptor)),
          decryption.segments};
}

}  // namespace backup::content
