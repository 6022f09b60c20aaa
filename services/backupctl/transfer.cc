#include "services/backupctl/transfer.h"

#include <cstdint>
#include <iterator>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/io_queue.h"
#include "base/low_priority_thread.h"
#include "base/piece_buffers.h"
#include "base/read_ahead_source.h"
#include "base/stage_resources.h"
#include "base/status_macros.h"
#include "crypto/random.h"
#include "crypto/sha256.h"
#include "services/backupctl/download_source.h"

namespace backup::ctl {
namespace {

using Outcome = v1::ReportTransferRequest;

constexpr int kMaxUploads = 3;
constexpr absl::Duration kFirstBackOff = absl::Milliseconds(200);

// Passes on what arrives of `version`, and compares it with its size and SHA-256: DataLoss.
class CheckedSource final : public LastingSource {
 public:
  CheckedSource(LastingSource& source, const v1::FileVersion& version)
      : source_(source), version_(version) {}
  void MakeLast(size_t pieces) override { source_.MakeLast(pieces); }
  absl::StatusOr<absl::string_view> Read() override {
    ASSIGN_OR_RETURN(const absl::string_view piece, source_.Read());
    if (piece.empty()) {
      RETURN_IF_ERROR(CheckEnd());
      return piece;
    }
    size_bytes_ += std::ssize(piece);
    if (size_bytes_ > version_.size_bytes())
      return absl::DataLossError("the service sent more than the file's size");
    sha256_.Update(piece);
    return piece;
  }

 private:
  absl::Status CheckEnd() {
    if (size_bytes_ != version_.size_bytes())
      return absl::DataLossError("the service sent less than the file's size");
    if (sha256_.Finish() != version_.sha256())
      return absl::DataLossError("what arrived does not match the file's SHA-256");
    return absl::OkStatus();
  }

  LastingSource& source_;
  const v1::FileVersion& version_;
  crypto::Sha256 sha256_;
  int64_t size_bytes_ = 0;
};

// A thread of its own for what comes before it, if that is worth it.
class Stage {
 public:
  Stage(LastingSource& source, ReadAheadSlots& slots, int64_t size_bytes)
      : source_(source),
        ahead_(size_bytes >= kLowPriorityMinSize ? ReadAheadSource::TryMake(source, slots)
                                                 : nullptr) {}
  LastingSource& source() const { return ahead_ ? *ahead_ : source_; }
  // Before the first Read(): the same of its pieces as MakeLast(), where there is a thread.
  void LetLast(size_t pieces) const {
    if (ahead_) ahead_->MakeLast(pieces);
  }

 private:
  LastingSource& source_;
  const std::unique_ptr<ReadAheadSource> ahead_;
};

// What one upload came to.
enum class Arrival { kIntact, kWrong };

absl::StatusOr<Arrival> UploadAndCompare(Connection& connection, const v1::UploadFileHeader& header,
                                         const LocalFile& file, ProgressBar& progress,
                                         v1::FileVersion& version) {
  UploadMeasures measures;
  PieceBudget budget;
  RangeSource source(file, budget, 0, file.size_bytes());
  ASSIGN_OR_RETURN(const v1::UploadFileResponse response,
                   Upload(connection, header, source, measures, progress));
  version = response.version();
  const bool intact =
      response.checksum() == measures.cksum.Value() && version.sha256() == measures.sha256.Finish();
  return intact ? Arrival::kIntact : Arrival::kWrong;
}

absl::StatusOr<v1::FileVersion> Settle(Connection& connection, const v1::UploadFileHeader& header,
                                       const v1::FileVersion& version) {
  RETURN_IF_ERROR(Report(connection, header, Outcome::VERIFIED));
  v1::GetVersionRequest request;
  request.set_client_id(header.client_id());
  request.set_file_name(header.file_name());
  request.set_version_id(version.version_id());
  ASSIGN_OR_RETURN(const v1::GetVersionResponse response,
                   connection.CallUnary(connection.catalog(),
                                        &v1::CatalogService::StubInterface::GetVersion, request));
  return response.version();
}

v1::DownloadFileRequest RequestOf(const v1::FileVersion& version) {
  v1::DownloadFileRequest request;
  request.set_client_id(version.client_id());
  request.set_file_name(version.file_name());
  request.set_version_id(version.version_id());
  return request;
}

// DataLoss, without a Reason, if what arrived is not `version`.
absl::Status DownloadOnce(Connection& connection, const v1::FileVersion& version, ByteSink& sink) {
  v1::DownloadFileRequest request = RequestOf(version);
  request.set_caller_verifies(true);
  Call call(connection.interrupt(), connection.TransferTimeout(version.size_bytes()));
  DownloadSource incoming(connection, call.context(), request);
  StageResources stages;
  // Hashing takes about as long as receiving and writing together.
  GatherSource pieces(incoming, stages.pieces, version.size_bytes());
  const Stage received(pieces, stages.read_ahead, version.size_bytes());
  CheckedSource checked(received.source(), version);
  const Stage hashed(checked, stages.read_ahead, version.size_bytes());
  hashed.LetLast(IoQueue::kMaxDepth - 1);
  // First of all when this ends: a stage may wait for the call.
  const absl::Cleanup cancel = [&] { call.context().TryCancel(); };
  const LastingPieces lasting(sink, hashed.source());
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, hashed.source().Read());
    if (piece.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(sink.Write(piece));
  }
}

// Has the service itself look for damage, which it then counts.
absl::Status HaveVerified(Connection& connection, const v1::FileVersion& version) {
  Call call(connection.interrupt(), connection.TransferTimeout(version.size_bytes()));
  DownloadSource bytes(connection, call.context(), RequestOf(version));
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, bytes.Read());
    if (piece.empty()) return absl::OkStatus();
  }
}

}  // namespace

absl::StatusOr<v1::UploadFileResponse> Upload(Connection& connection,
                                              const v1::UploadFileHeader& header,
                                              ByteSource& source, UploadMeasures& measures,
                                              ProgressBar& progress) {
  Call call(connection.interrupt(), connection.TransferTimeout(header.encoded_size()));
  v1::UploadFileResponse response;
  const auto stream = connection.ingest().UploadFile(&call.context(), &response);
  v1::UploadFileRequest message;
  *message.mutable_header() = header;
  bool sending = stream->Write(message);
  if (!sending) RETURN_IF_ERROR(connection.Explain(stream->Finish()));
  progress.SetDone(0);
  while (true) {
    const absl::StatusOr<absl::string_view> piece = source.Read();
    if (!piece.ok()) {
      call.context().TryCancel();
      if (sending) static_cast<void>(stream->Finish());
      return piece.status();
    }
    if (piece->empty()) break;
    measures.cksum.Update(*piece);
    measures.sha256.Update(*piece);
    progress.Advance(static_cast<int64_t>(piece->size()));
    if (!sending) continue;
    message.set_chunk(piece->data(), piece->size());
    sending = stream->Write(message);
    if (!sending) RETURN_IF_ERROR(connection.Explain(stream->Finish()));
  }
  if (!sending) return response;
  stream->WritesDone();
  RETURN_IF_ERROR(connection.Explain(stream->Finish()));
  return response;
}

absl::Status Report(Connection& connection, const v1::UploadFileHeader& header,
                    Outcome::Outcome outcome) {
  v1::ReportTransferRequest request;
  request.set_client_id(header.client_id());
  request.set_file_name(header.file_name());
  request.set_outcome(outcome);
  request.set_upload_id(header.upload_id());  // Saying it twice settles no other upload.
  if (header.has_receive_time()) *request.mutable_report_time() = header.receive_time();
  return connection
      .CallUnary(connection.ingest(), &v1::IngestService::StubInterface::ReportTransfer, request)
      .status();
}

absl::Status Download(Connection& connection, const v1::FileVersion& version, ByteSink& sink) {
  const absl::Status done = DownloadOnce(connection, version, sink);
  if (!absl::IsDataLoss(done) || ReasonOf(done)) return done;
  RETURN_IF_ERROR(HaveVerified(connection, version));
  return MakeError(Reason::kBlobDamaged, done.message(), version.file_name());
}

absl::StatusOr<v1::FileVersion> BackUp(Connection& connection, const std::string& client_id,
                                       const std::string& file_name, const LocalFile& file,
                                       ProgressBar& progress) {
  v1::UploadFileHeader header;
  header.set_client_id(client_id);
  header.set_file_name(file_name);
  header.set_encoding(v1::UploadFileHeader::IDENTITY);
  header.set_encoded_size(file.size_bytes());
  header.set_original_size(file.size_bytes());
  header.set_checksum_kind(v1::CKSUM_OF_PLAINTEXT);
  header.set_upload_id(ToUuidText(crypto::RandomBytes(UploadId::kSize)));
  absl::Duration back_off = kFirstBackOff;
  for (int upload = 1;; ++upload) {
    const bool last = upload == kMaxUploads;
    v1::FileVersion version;
    const absl::StatusOr<Arrival> arrival =
        UploadAndCompare(connection, header, file, progress, version);
    if (absl::IsUnavailable(arrival.status()) && !last) {
      // Whether it was stored is not known: the same upload id makes sure that it is stored once.
      if (connection.interrupt().WaitFor(back_off)) return connection.interrupt().Check();
      back_off *= 2;
      continue;
    }
    RETURN_IF_ERROR(arrival.status());
    if (*arrival == Arrival::kIntact) return Settle(connection, header, version);
    RETURN_IF_ERROR(Report(connection, header, last ? Outcome::ABANDONED : Outcome::RETRYING));
    if (last) {
      return absl::InternalError(
          absl::StrCat("the service's checksum was wrong ", kMaxUploads,
                       " times, so this upload was given up; earlier versions are untouched. Is "
                       "the service run with --debug?"));
    }
    header.set_upload_id(ToUuidText(crypto::RandomBytes(UploadId::kSize)));
  }
}

}  // namespace backup::ctl
