#include "content/decoding.h"

#include <algorithm>
#include <optional>
#include <string>

#include "base/piece_buffers.h"
#include "base/status_macros.h"
#include "crypto/cipher.h"

namespace backup::content {
namespace {

using crypto::CbcDecryptor;
using crypto::SegmentDecryptor;

Observer Measuring(PlaintextMeasures& measures) {
  return [&measures](absl::string_view part) { measures.Update(part); };
}

// Passes the ciphertext on as it is, and measures the plaintext that is in it.
template <typename Decryptor>
class MeasuredCiphertextSource final : public ByteSource {
 public:
  template <typename... Args>
  MeasuredCiphertextSource(ByteSource& ciphertext, PlaintextMeasures& measures, const Args&... args)
      : ciphertext_(ciphertext), measures_(measures), decryptor_(args...) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (ended_) return absl::string_view();
    ASSIGN_OR_RETURN(const absl::string_view piece, ciphertext_.Read());
    ended_ = piece.empty();
    plain_.resize(std::max(plain_.size(), piece.size() + crypto::kCipherBlockSize));
    ASSIGN_OR_RETURN(const size_t size, ended_ ? decryptor_.Finish(plain_.data())
                                               : decryptor_.Update(piece, plain_.data()));
    measures_.Update(absl::string_view(plain_.data(), size));
    return piece;
  }
  const Decryptor& decryptor() const { return decryptor_; }

 private:
  ByteSource& ciphertext_;
  PlaintextMeasures& measures_;
  Decryptor decryptor_;
  std::string plain_;
  bool ended_ = false;
};

}  // namespace

Decoding<LastingSource> Decode(const Encoding& encoding, absl::string_view session_key,
                               const Checksums& segment_sums, ByteSource& encoded,
                               PieceBudget& budget, PlaintextMeasures& measures) {
  if (encoding.segmented()) {
    auto plain = std::make_unique<crypto::DecryptSource<SegmentDecryptor>>(
        encoded, budget, /*expected_size=*/std::nullopt, session_key, encoding.segment_count,
        segment_sums);
    plain->set_observer(Measuring(measures));
    const SegmentDecryptor& segments = plain->decryptor();
    return {std::move(plain), &segments};
  }
  if (encoding.encrypted()) {
    auto plain = std::make_unique<crypto::CbcDecryptSource>(encoded, budget, encoding.size_bytes,
                                                            session_key);
    plain->set_observer(Measuring(measures));
    return {std::move(plain)};
  }
  auto plain = std::make_unique<GatherSource>(encoded, budget, encoding.size_bytes);
  plain->set_observer(Measuring(measures));
  return {std::move(plain)};
}

Decoding<ByteSource> DecodeBeside(const Encoding& encoding, absl::string_view session_key,
                                  const Checksums& segment_sums, ByteSource& encoded,
                                  PlaintextMeasures& measures) {
  if (encoding.segmented()) {
    auto ciphertext = std::make_unique<MeasuredCiphertextSource<SegmentDecryptor>>(
        encoded, measures, session_key, encoding.segment_count, segment_sums);
    const SegmentDecryptor& segments = ciphertext->decryptor();
    return {std::move(ciphertext), &segments};
  }
  return {std::make_unique<MeasuredCiphertextSource<CbcDecryptor>>(encoded, measures, session_key)};
}

}  // namespace backup::content
