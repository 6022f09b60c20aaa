#include "content/snapshot_file.h"

#include <zstd.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/secret_bytes.h"
#include "base/status_macros.h"
#include "content/footer_fields.h"
#include "crypto/random.h"
#include "crypto/sealed_file.h"
#include "crypto/sha256.h"
#include "glog/logging.h"

namespace backup::content {
namespace {

constexpr absl::string_view kMagic = "BKPSNAP1";
constexpr absl::string_view kKeyContext = "backup snapshot key ";
constexpr size_t kMaxFooterSize = 1024;
// Many chunks are compressed already, and it is made again every hour.
constexpr int kLevel = 1;
// What a reader needs for a frame of this level; more it refuses.
constexpr int kMaxWindowLog = 23;
constexpr uint64_t kSealed = 2;  // storage::StorageForm::kSealed.

std::string EncodeFields(const SnapshotFooter& footer) {
  std::string out;
  AppendUint(kSealed, 1, out);
  AppendUint(static_cast<uint64_t>(absl::ToUnixMicros(footer.time)), 8, out);
  AppendUint(static_cast<uint64_t>(footer.next_version_id), 8, out);
  AppendUint(static_cast<uint64_t>(footer.catalog_size), 8, out);
  AppendUint(static_cast<uint64_t>(footer.compressed_size), 8, out);
  AppendUint(static_cast<uint64_t>(footer.payload_size), 8, out);
  CHECK_EQ(footer.sha256.size(), crypto::kSha256Size);
  AppendBytes(footer.sha256, out);
  AppendSized(footer.key_fingerprint, out);
  return out;
}

std::string KeyContext(const SnapshotFooter& footer) {
  return absl::StrCat(kKeyContext, EncodeFields(footer));
}

// One zstd frame of what a source yields.
class CompressedSource final : public ByteSource {
 public:
  explicit CompressedSource(ByteSource& source)
      : source_(source), context_(ZSTD_createCCtx()), out_(ZSTD_CStreamOutSize(), '\0') {
    CHECK(context_ != nullptr) << "out of memory";
    CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kLevel)));
    CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1)));
  }

  absl::StatusOr<absl::string_view> Read() override {
    ZSTD_outBuffer out = {out_.data(), out_.size(), 0};
    while (out.pos == 0 && !ended_) {
      if (in_.pos == in_.size && !source_ended_) {
        ASSIGN_OR_RETURN(const absl::string_view piece, source_.Read());
        in_ = {piece.data(), piece.size(), 0};
        source_ended_ = piece.empty();
      }
      const size_t left = ZSTD_compressStream2(context_.get(), &out, &in_,
                                               source_ended_ ? ZSTD_e_end : ZSTD_e_continue);
      CHECK(!ZSTD_isError(left)) << ZSTD_getErrorName(left);
      ended_ = source_ended_ && left == 0;
    }
    size_bytes_ += static_cast<int64_t>(out.pos);
    return absl::string_view(out_).substr(0, out.pos);
  }
  int64_t size_bytes() const { return size_bytes_; }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };

  ByteSource& source_;
  const std::unique_ptr<ZSTD_CCtx, Free> context_;
  std::string out_;
  ZSTD_inBuffer in_ = {nullptr, 0, 0};
  bool source_ended_ = false;
  bool ended_ = false;
  int64_t size_bytes_ = 0;
};

absl::Status DamagedSnapshot(absl::string_view why) {
  return MakeError(Reason::kBlobDamaged, absl::StrCat("the snapshot is damaged: ", why));
}

// Decompresses into a sink that must get exactly so many bytes.
class Decompression {
 public:
  Decompression(ByteSink& sink, int64_t size_bytes)
      : sink_(sink),
        left_(size_bytes),
        context_(ZSTD_createDCtx()),
        out_(ZSTD_DStreamOutSize(), '\0') {
    CHECK(context_ != nullptr) << "out of memory";
    CHECK(
        !ZSTD_isError(ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kMaxWindowLog)));
  }

  absl::Status Write(absl::string_view piece) {
    ZSTD_inBuffer in = {piece.data(), piece.size(), 0};
    bool is_full = false;
    while (in.pos < in.size || is_full) {
      if (ended_) return DamagedSnapshot("there is more than one frame");
      ZSTD_outBuffer out = {out_.data(), out_.size(), 0};
      const size_t result = ZSTD_decompressStream(context_.get(), &out, &in);
      if (ZSTD_isError(result)) return DamagedSnapshot(ZSTD_getErrorName(result));
      ended_ = result == 0;
      is_full = !ended_ && out.pos == out.size;
      left_ -= static_cast<int64_t>(out.pos);
      if (left_ < 0) return DamagedSnapshot("it is larger than it says");
      const absl::string_view plain(out_.data(), out.pos);
      sha256_.Update(plain);
      RETURN_IF_ERROR(sink_.Write(plain));
    }
    return absl::OkStatus();
  }

  absl::Status Finish(absl::string_view sha256) {
    if (!ended_ || left_ != 0) return DamagedSnapshot("it is smaller than it says");
    return sha256_.Finish() == sha256 ? absl::OkStatus()
                                      : DamagedSnapshot("its SHA-256 is another one");
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };

  ByteSink& sink_;
  int64_t left_;
  const std::unique_ptr<ZSTD_DCtx, Free> context_;
  std::string out_;
  crypto::Sha256 sha256_;
  bool ended_ = false;
};

// Looks at what passes.
class MeasuredSource final : public ByteSource {
 public:
  explicit MeasuredSource(ByteSource& source) : source_(source) {}
  absl::StatusOr<absl::string_view> Read() override {
    ASSIGN_OR_RETURN(const absl::string_view piece, source_.Read());
    sha256.Update(piece);
    size_bytes += std::ssize(piece);
    return piece;
  }

  crypto::Sha256 sha256;
  int64_t size_bytes = 0;

 private:
  ByteSource& source_;
};

}  // namespace

struct SnapshotSource::Stages {
  Stages(ByteSource& catalog, absl::string_view key)
      : measured(catalog), compressed(measured), sealed(compressed, key) {}

  MeasuredSource measured;
  CompressedSource compressed;
  crypto::SealSource sealed;
};

SnapshotSource::SnapshotSource(ByteSource& catalog, absl::Time time, int64_t next_version_id,
                               const crypto::MasterKey& master_key)
    : master_key_(master_key),
      key_(crypto::RandomBytes(crypto::kFileKeySize)),
      stages_(std::make_unique<Stages>(catalog, key_)) {
  footer_.time = time;
  footer_.next_version_id = next_version_id;
}

SnapshotSource::~SnapshotSource() = default;

absl::StatusOr<absl::string_view> SnapshotSource::Read() {
  if (at_end_) return absl::string_view();
  ASSIGN_OR_RETURN(const absl::string_view piece, stages_->sealed.Read());
  if (!piece.empty()) {
    footer_.payload_size += std::ssize(piece);
    return piece;
  }
  at_end_ = true;
  footer_.catalog_size = stages_->measured.size_bytes;
  footer_.compressed_size = stages_->compressed.size_bytes();
  footer_.sha256 = stages_->measured.sha256.Finish();
  footer_.key_fingerprint = master_key_.Fingerprint();
  footer_.wrapped_key = master_key_.Seal(key_, KeyContext(footer_));
  end_ = EncodeFields(footer_);
  AppendSized(footer_.wrapped_key, end_);
  AppendTrailer(kMagic, end_);
  return end_;
}

absl::StatusOr<SnapshotFooter> ReadSnapshotFooter(const RandomAccess& file) {
  ASSIGN_OR_RETURN(const std::string fields, ReadFooterFields(file, kMagic, kMaxFooterSize));
  FieldReader reader(fields);
  SnapshotFooter footer;
  const uint64_t form = reader.Uint(1);
  footer.time = absl::FromUnixMicros(static_cast<int64_t>(reader.Uint(8)));
  footer.next_version_id = static_cast<int64_t>(reader.Uint(8));
  footer.catalog_size = static_cast<int64_t>(reader.Uint(8));
  footer.compressed_size = static_cast<int64_t>(reader.Uint(8));
  footer.payload_size = static_cast<int64_t>(reader.Uint(8));
  footer.sha256 = std::string(reader.Bytes(crypto::kSha256Size));
  footer.key_fingerprint = reader.Sized();
  footer.wrapped_key = reader.Sized();
  const auto footer_size = static_cast<int64_t>(fields.size() + kFooterTrailerSize);
  const bool valid = reader.ok() && reader.AtEnd() && form == kSealed &&
                     footer.next_version_id > 0 && footer.catalog_size >= 0 &&
                     footer.compressed_size >= 0 && footer.compressed_size <= file.size_bytes() &&
                     footer.payload_size == file.size_bytes() - footer_size &&
                     footer.payload_size == crypto::SealedSize(footer.compressed_size);
  if (!valid) return DamagedSnapshot("its footer makes no sense");
  return footer;
}

absl::StatusOr<bool> IsSnapshot(const RandomAccess& file) {
  if (file.size_bytes() < std::ssize(kMagic)) return false;
  std::string end(kMagic.size(), '\0');
  RETURN_IF_ERROR(file.ReadAt(file.size_bytes() - std::ssize(kMagic), {end.data(), end.size()}));
  return end == kMagic;
}

absl::Status CheckSnapshotKey(const SnapshotFooter& footer, const crypto::MasterKey& master_key) {
  if (footer.key_fingerprint != master_key.Fingerprint()) {
    return MakeError(Reason::kBlobDamaged,
                     absl::StrCat("the snapshot takes the master key ", footer.key_fingerprint,
                                  ", this one is ", master_key.Fingerprint()));
  }
  const absl::Status opened = master_key.Open(footer.wrapped_key, KeyContext(footer)).status();
  return opened.ok() ? opened : DamagedSnapshot("its footer was changed");
}

absl::Status ReadSnapshot(const RandomAccess& file, const crypto::MasterKey& master_key,
                          ByteSink& sink) {
  ASSIGN_OR_RETURN(const SnapshotFooter footer, ReadSnapshotFooter(file));
  RETURN_IF_ERROR(CheckSnapshotKey(footer, master_key));
  ASSIGN_OR_RETURN(const SecretBytes key, master_key.Open(footer.wrapped_key, KeyContext(footer)));
  if (key.size() != crypto::kFileKeySize) return DamagedSnapshot("its key has another size");
  PieceBudget budget;
  crypto::UnsealSource compressed(file, budget, key, footer.compressed_size, 0,
                                  footer.compressed_size);
  Decompression decompression(sink, footer.catalog_size);
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, compressed.Read());
    if (piece.empty()) break;
    RETURN_IF_ERROR(decompression.Write(piece));
  }
  return decompression.Finish(footer.sha256);
}

}  // namespace backup::content
