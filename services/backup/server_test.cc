// The real server, over a real socket, on the memory fakes: every RPC once, and what only the
// services do.

#include "services/backup/server.h"

#include <atomic>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "backup/v1/admin.grpc.pb.h"
#include "backup/v1/catalog.grpc.pb.h"
#include "backup/v1/ingest.grpc.pb.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "rpc/status.h"
#include "services/backup/audit/audit_log.h"
#include "services/backup/audit/audit_queue.h"
#include "services/backup/limits.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/log_capture.h"
#include "services/backup/testing/memory_service.h"
#include "storage/testing/temp_folder.h"

namespace backup {
namespace {

using testing::DownloadOf;
using testing::EncryptAsClient;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::HeaderOf;
using testing::IsOk;
using testing::LegacyPeer;
using testing::LogCapture;
using testing::MemoryService;
using ::testing::Not;
using testing::PseudoRandomBytes;
using testing::StatusIs;
using Header = v1::UploadFileHeader;

constexpr std::chrono::seconds kDeadline(30);

// A call's context with a deadline, so that a test fails instead of hanging.
struct Call : grpc::ClientContext {
  Call() { set_deadline(std::chrono::system_clock::now() + kDeadline); }
};

// Of which one hears before its callers do.
class OverheardCatalog final : public storage::Catalog {
 public:
  explicit OverheardCatalog(storage::Catalog& catalog) : catalog_(catalog) {}
  void Submit(Work work, Done done) override {
    catalog_.Submit(std::move(work), [this, done](const absl::Status& told) {
      before_told();
      done(told);
    });
  }

  std::function<void()> before_told = [] {};

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(storage::Snapshot&)>& read) override {
    return catalog_.Read(read);
  }

  storage::Catalog& catalog_;
};

// A store that is elsewhere and does not answer.
class SilentBlobStore final : public storage::BlobStore {
 public:
  absl::StatusOr<std::unique_ptr<storage::StagedBlob>> Stage(const BlobId&, ByteSource&,
                                                             std::optional<int64_t>) override {
    return WaitInVain();
  }
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId&) const override {
    return WaitInVain();
  }
  absl::StatusOr<bool> Delete(const BlobId&) override { return WaitInVain(); }
  absl::Status List(const std::function<absl::Status(const storage::BlobInfo&)>&) const override {
    return WaitInVain();
  }
  void StopWaiting() override { stopped_.set_value(); }
  void WaitUntilAsked() { asked_.get_future().wait(); }

 private:
  absl::Status WaitInVain() const {
    std::call_once(once_, [this] { asked_.set_value(); });
    is_stopped_.wait_for(kDeadline);
    return MakeError(Reason::kBackendDown, "no answer", storage::kBlobsSubject);
  }

  mutable std::once_flag once_;
  mutable std::promise<void> asked_;
  std::promise<void> stopped_;
  const std::shared_future<void> is_stopped_ = stopped_.get_future().share();
};

class ServerTest : public ::testing::Test {
 protected:
  explicit ServerTest(absl::Duration stream_limit = absl::ZeroDuration())
      : watchdog_(stream_limit),
        context_(ContextWith(gate_)),
        server_(*Server::Start(*rpc::Acceptor::Listen("127.0.0.1:0"), context_,
                               {absl::FromUnixSeconds(42), {"debug"}, "plain", {}}, {})),
        channel_(grpc::CreateChannel(server_->bound_address(), grpc::InsecureChannelCredentials())),
        ingest_(v1::IngestService::NewStub(channel_)),
        catalog_(v1::CatalogService::NewStub(channel_)),
        admin_(v1::AdminService::NewStub(channel_)) {}

  ServiceContext ContextWith(rpc::DrainGate& gate) {
    return ContextWith(gate, service_.catalog, service_.blobs);
  }
  ServiceContext ContextWith(rpc::DrainGate& gate, storage::Catalog& catalog,
                             storage::BlobStore& blobs) {
    return {catalog,
            blobs,
            service_.ledger,
            service_.version_ids,
            service_.master_key,
            service_.store_keys,
            *service_.dictionaries,
            service_.chunk_cache,
            service_.clock,
            service_.stages,
            idle_,
            watchdog_,
            gate,
            service_.duplicate_names,
            service_.keys,
            service_.uploads};
  }

  std::string Register(const std::string& name) {
    Call call;
    v1::RegisterClientRequest request;
    request.set_name(name);
    v1::RegisterClientResponse response;
    EXPECT_THAT(rpc::FromGrpc(ingest_->RegisterClient(&call, request, &response)), IsOk());
    return response.client().client_id();
  }

  std::pair<absl::Status, v1::UploadFileResponse> Upload(const Header& header,
                                                         const std::string& encoded) {
    Call call;
    v1::UploadFileResponse response;
    const auto stream = ingest_->UploadFile(&call, &response);
    v1::UploadFileRequest message;
    *message.mutable_header() = header;
    bool open = stream->Write(message);
    for (size_t at = 0; open && at < encoded.size(); at += kPieceSize) {
      message.set_chunk(encoded.substr(at, kPieceSize));
      open = stream->Write(message);
    }
    stream->WritesDone();
    return {rpc::FromGrpc(stream->Finish()), response};
  }

  absl::Status Report(const std::string& id, const std::string& file_name) {
    Call call;
    v1::ReportTransferRequest request;
    request.set_client_id(id);
    request.set_file_name(file_name);
    request.set_outcome(v1::ReportTransferRequest::VERIFIED);
    v1::ReportTransferResponse response;
    return rpc::FromGrpc(ingest_->ReportTransfer(&call, request, &response));
  }

  std::pair<absl::Status, std::string> Download(const v1::DownloadFileRequest& request) {
    Call call;
    const auto stream = catalog_->DownloadFile(&call, request);
    v1::DownloadFileResponse message;
    std::string bytes;
    bool first = true;
    while (stream->Read(&message)) {
      EXPECT_EQ(message.has_version(), first);
      first = false;
      bytes += message.chunk();
    }
    return {rpc::FromGrpc(stream->Finish()), bytes};
  }

  absl::Status SetLogLevel(const std::string& pattern, v1::LogLevel level) {
    Call call;
    v1::SetLogLevelRequest request;
    request.set_module_pattern(pattern);
    request.set_level(level);
    v1::SetLogLevelResponse response;
    return rpc::FromGrpc(admin_->SetLogLevel(&call, request, &response));
  }

  MemoryService service_;
  StopRequest stop_;
  IdleShutdown idle_{absl::ZeroDuration(), stop_};
  rpc::StreamWatchdog watchdog_;
  rpc::DrainGate gate_;
  ServiceContext context_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::IngestService::Stub> ingest_;
  std::unique_ptr<v1::CatalogService::Stub> catalog_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

TEST_F(ServerTest, TellsAllWhoExchangeTheSameKeyAtOnceTheSameSessionKey) {
  constexpr int kCallers = 8;
  const LegacyPeer peer;
  v1::ExchangeKeyRequest request;
  request.set_client_id(Register("laptop"));
  request.set_public_key(peer.PublicKey());
  std::latch all_there(kCallers);
  std::vector<std::future<std::string>> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.push_back(std::async(std::launch::async, [&] {
      all_there.arrive_and_wait();
      Call call;
      v1::ExchangeKeyResponse response;
      EXPECT_THAT(rpc::FromGrpc(ingest_->ExchangeKey(&call, request, &response)), IsOk());
      return peer.DecryptSessionKey(response.encrypted_session_key());
    }));
  }
  const std::string session_key = callers.front().get();
  EXPECT_EQ(session_key.size(), 16u);
  for (size_t i = 1; i < callers.size(); ++i) EXPECT_EQ(callers[i].get(), session_key);
}

TEST_F(ServerTest, BacksUpAndRestoresAFileAsALegacyClientDoes) {
  const LegacyPeer peer;
  const std::string id = Register("laptop");
  Call exchange;
  v1::ExchangeKeyRequest key;
  key.set_client_id(id);
  key.set_public_key(peer.PublicKey());
  v1::ExchangeKeyResponse sealed;
  ASSERT_OK(rpc::FromGrpc(ingest_->ExchangeKey(&exchange, key, &sealed)));
  Call resume;
  v1::ResumeClientRequest again;
  again.set_client_id(id);
  v1::ResumeClientResponse resumed;
  ASSERT_OK(rpc::FromGrpc(ingest_->ResumeClient(&resume, again, &resumed)));
  const std::string session_key = peer.DecryptSessionKey(resumed.encrypted_session_key());
  ASSERT_EQ(session_key, peer.DecryptSessionKey(sealed.encrypted_session_key()));

  const std::string plain = PseudoRandomBytes((5 << 20) + 3);
  const std::string encoded = EncryptAsClient(session_key, plain);
  const auto [uploaded, response] =
      Upload(HeaderOf(id, "file", Header::AES_CBC_ZERO_IV, encoded), encoded);
  ASSERT_OK(uploaded);
  Cksum cksum;
  cksum.Update(plain);
  EXPECT_EQ(response.checksum(), cksum.Value());
  ASSERT_OK(Report(id, "file"));
  const auto [downloaded, bytes] = Download(DownloadOf(id, "file", 0));
  EXPECT_OK(downloaded);
  EXPECT_TRUE(bytes == plain);
}

// A client that tells only its name, reads PKCS#1 v1.5, holds a key of the wrong size, and encrypts
// each 16 bytes on their own with the IV in front.
TEST_F(ServerTest, BacksUpAFileAsAnOddLegacyClientDoes) {
  const LegacyPeer peer;
  const std::string id = Register("laptop");
  Call exchange;
  v1::ExchangeKeyRequest key;
  key.set_name("laptop");
  key.set_public_key(peer.PublicKey());
  key.set_session_key_encryption(v1::RSAES_PKCS1_V15);
  v1::ExchangeKeyResponse sealed;
  const LogCapture log;
  ASSERT_OK(rpc::FromGrpc(ingest_->ExchangeKey(&exchange, key, &sealed)));
  EXPECT_EQ(sealed.client_id(), id);
  EXPECT_THAT(log.text(), HasSubstr(absl::StrCat("rpc=ExchangeKey client=", id, " outcome=OK")));
  EXPECT_EQ(peer.DecryptPkcs1SessionKey(sealed.encrypted_session_key()).size(), 16u);
  Call resume;
  v1::ResumeClientRequest again;
  again.set_name("laptop");
  again.set_session_key_bits(256);
  v1::ResumeClientResponse resumed;
  ASSERT_OK(rpc::FromGrpc(ingest_->ResumeClient(&resume, again, &resumed)));
  EXPECT_EQ(resumed.client_id(), id);
  EXPECT_THAT(log.text(),
              HasSubstr(absl::StrCat("size of a session key from 128 to 256 bits: client=", id)));
  const std::string session_key = peer.DecryptSessionKey(resumed.encrypted_session_key());
  ASSERT_EQ(session_key.size(), 32u);

  const std::string plain = PseudoRandomBytes((100 << 10) + 3);
  std::string encoded;
  for (size_t at = 0; at < plain.size(); at += 16) {
    encoded += EncryptAsClient(session_key, plain.substr(at, 16),
                               {.vector = PseudoRandomBytes(16, static_cast<uint32_t>(at))});
  }
  Header header = HeaderOf(id, "file", Header::AES_CBC_SEGMENTS, encoded);
  header.set_segment_size(48);
  header.set_initial_vector(Header::IN_FRONT);
  const auto [uploaded, response] = Upload(header, encoded);
  ASSERT_OK(uploaded);
  EXPECT_EQ(response.encoded_size(), std::ssize(encoded));
  ASSERT_OK(Report(id, "file"));
  const auto [downloaded, bytes] = Download(DownloadOf(id, "file", 0));
  EXPECT_OK(downloaded);
  EXPECT_TRUE(bytes == plain);
}

// The quick way: all of it in one message.
TEST_F(ServerTest, TakesContentOfAnyFormatWithTheHeader) {
  const testing::KnownClient client = service_.MakeClient("laptop");
  const std::string encoded = EncryptAsClient(client.session_key, "content", {.pkcs7 = false});
  Header header = HeaderOf(client.id, "file", Header::AES_CBC, encoded);
  header.set_padding(Header::ZEROS);
  header.set_original_size(7);
  header.set_first_chunk(encoded);
  const auto [uploaded, response] = Upload(header, "");
  ASSERT_OK(uploaded);
  EXPECT_EQ(response.version().size_bytes(), 7);
  header.set_encoding(Header::AES_CBC_SEGMENTS);
  header.set_segment_size(16);
  ASSERT_OK(Upload(header, "").first);
  header.set_original_size(6);
  EXPECT_THAT(Upload(header, "").first, HasReason(Reason::kContentRejected));
}

TEST_F(ServerTest, AnswersEveryQueryAndDeletion) {
  const std::string id = Register("laptop");
  const auto [uploaded, version] = Upload(HeaderOf(id, "file", Header::IDENTITY, "x"), "x");
  ASSERT_OK(uploaded);
  ASSERT_OK(Report(id, "file"));

  Call calls[6];
  v1::ListClientsResponse clients;
  EXPECT_TRUE(catalog_->ListClients(&calls[0], {}, &clients).ok());
  EXPECT_EQ(clients.clients_size(), 1);
  v1::GetClientRequest by_name;
  by_name.set_name("laptop");
  v1::GetClientResponse client;
  EXPECT_TRUE(catalog_->GetClient(&calls[1], by_name, &client).ok());
  EXPECT_EQ(client.client().client_id(), id);
  v1::ListFilesRequest of_client;
  of_client.set_client_id(id);
  v1::ListFilesResponse files;
  EXPECT_TRUE(catalog_->ListFiles(&calls[2], of_client, &files).ok());
  ASSERT_EQ(files.files_size(), 1);
  EXPECT_EQ(files.files(0).newest_verified().version_id(), version.version().version_id());
  v1::ListVersionsRequest of_file;
  of_file.set_client_id(id);
  of_file.set_file_name("file");
  v1::ListVersionsResponse versions;
  EXPECT_TRUE(catalog_->ListVersions(&calls[3], of_file, &versions).ok());
  EXPECT_EQ(versions.versions_size(), 1);
  v1::DeleteVersionRequest one;
  one.set_client_id(id);
  one.set_file_name("file");
  one.set_version_id(version.version().version_id());
  v1::DeleteVersionResponse deleted_version;
  EXPECT_TRUE(catalog_->DeleteVersion(&calls[4], one, &deleted_version).ok());
  v1::DeleteClientRequest whole;
  whole.set_client_id(id);
  v1::DeleteClientResponse deleted_client;
  EXPECT_TRUE(catalog_->DeleteClient(&calls[5], whole, &deleted_client).ok());
  EXPECT_EQ(service_.Count().clients, 0);
}

TEST_F(ServerTest, TellsItsStatus) {
  service_.Store(Register("laptop"), "file", "content");
  Call call;
  v1::GetStatusResponse status;
  ASSERT_TRUE(admin_->GetStatus(&call, {}, &status).ok());
  EXPECT_EQ(status.client_count(), 1);
  EXPECT_EQ(status.file_count(), 1);
  EXPECT_EQ(status.verified_version_count(), 1);
  EXPECT_EQ(status.stored_bytes(), 7);
  EXPECT_EQ(status.at_rest(), "plain");
  EXPECT_EQ(status.start_time().seconds(), 42);
  EXPECT_THAT(status.modes(), ::testing::ElementsAre("debug"));
  EXPECT_FALSE(status.version().empty());
  // The disk cannot be looked at.
  EXPECT_FALSE(status.has_catalog_bytes());
  EXPECT_FALSE(status.has_snapshots());
  EXPECT_FALSE(status.has_room_bytes());
}

TEST_F(ServerTest, VerifiesTheStoreAndSaysSoLast) {
  service_.Store(Register("laptop"), "file", "content");
  Call call;
  const auto stream = admin_->VerifyStore(&call, {});
  v1::VerifyStoreResponse event;
  v1::VerifyStoreResponse last;
  while (stream->Read(&event)) last = event;
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(last.summary().checked_versions(), 1);
}

TEST_F(ServerTest, ChangesWhatIsLogged) {
  const int before = FLAGS_minloglevel;
  ASSERT_OK(SetLogLevel("*", v1::LOG_LEVEL_WARNING));
  EXPECT_EQ(FLAGS_minloglevel, google::GLOG_WARNING);
  ASSERT_OK(SetLogLevel("*", v1::LOG_LEVEL_DEBUG));
  EXPECT_EQ(FLAGS_v, 2);
  ASSERT_OK(SetLogLevel("*", v1::LOG_LEVEL_INFO));
  EXPECT_EQ(FLAGS_v, 0);
  EXPECT_EQ(FLAGS_minloglevel, google::GLOG_INFO);
  FLAGS_minloglevel = before;
  EXPECT_THAT(SetLogLevel("server", v1::LOG_LEVEL_ERROR), HasReason(Reason::kInvalidField));
  EXPECT_THAT(SetLogLevel("", v1::LOG_LEVEL_INFO), HasReason(Reason::kInvalidField));
  EXPECT_THAT(SetLogLevel("*", v1::LOG_LEVEL_UNSPECIFIED), HasReason(Reason::kInvalidField));
  EXPECT_THAT(SetLogLevel(std::string(kMaxModulePatternSize + 1, 'm'), v1::LOG_LEVEL_INFO),
              HasReason(Reason::kInvalidField));
}

TEST_F(ServerTest, CarriesTheReasonOfAnError) {
  const auto [status, response] =
      Upload(HeaderOf("11111111-2222-4333-8444-555555555555", "file", Header::IDENTITY, ""), "");
  EXPECT_THAT(status, HasReason(Reason::kClientNotFound));
  EXPECT_EQ(SubjectOf(status), "11111111-2222-4333-8444-555555555555");
}

TEST_F(ServerTest, StoresNothingOfAStreamThatEndsEarly) {
  const std::string id = Register("laptop");
  Header header = HeaderOf(id, "file", Header::IDENTITY, "content");
  header.set_encoded_size(8);
  EXPECT_THAT(Upload(header, "content").first, HasReason(Reason::kInvalidField));
  EXPECT_EQ(service_.Count().versions, 0);
}

TEST_F(ServerTest, WantsTheHeaderFirstAndOnlyOnce) {
  const std::string id = Register("laptop");
  for (const bool header_first : {true, false}) {
    Call call;
    v1::UploadFileResponse response;
    const auto stream = ingest_->UploadFile(&call, &response);
    v1::UploadFileRequest header;
    *header.mutable_header() = HeaderOf(id, "file", Header::IDENTITY, "x");
    v1::UploadFileRequest chunk;
    chunk.set_chunk("x");
    stream->Write(header_first ? header : chunk);
    stream->Write(header);
    stream->WritesDone();
    EXPECT_THAT(rpc::FromGrpc(stream->Finish()), HasReason(Reason::kInvalidField));
  }
  EXPECT_EQ(service_.Count().versions, 0);
}

TEST_F(ServerTest, RefusesAChunkThatIsTooLarge) {
  const std::string id = Register("laptop");
  Call call;
  v1::UploadFileResponse response;
  const auto stream = ingest_->UploadFile(&call, &response);
  const std::string large(rpc::kMaxChunkSize + 1, 'x');
  v1::UploadFileRequest message;
  *message.mutable_header() = HeaderOf(id, "file", Header::IDENTITY, large);
  stream->Write(message);
  message.set_chunk(large);
  stream->Write(message);
  stream->WritesDone();
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), HasReason(Reason::kInvalidField));
}

TEST_F(ServerTest, TakesTheFirstChunkWithTheHeader) {
  const std::string id = Register("laptop");
  Header header = HeaderOf(id, "small", Header::IDENTITY, "content");
  header.set_first_chunk("content");
  ASSERT_OK(Upload(header, "").first);
  header = HeaderOf(id, "more", Header::IDENTITY, "content and more");
  header.set_first_chunk("content");
  ASSERT_OK(Upload(header, " and more").first);
  header.set_first_chunk(std::string(rpc::kMaxChunkSize + 1, 'x'));
  EXPECT_THAT(Upload(header, "").first, HasReason(Reason::kInvalidField));

  ASSERT_OK(Report(id, "small"));
  ASSERT_OK(Report(id, "more"));
  EXPECT_EQ(Download(DownloadOf(id, "small", 0)).second, "content");
  EXPECT_EQ(Download(DownloadOf(id, "more", 0)).second, "content and more");
}

TEST_F(ServerTest, TakesChunksThatAnotherEncoderMayGive) {
  const std::string id = Register("laptop");
  Call call;
  v1::UploadFileResponse response;
  const auto stream = ingest_->UploadFile(&call, &response);
  v1::UploadFileRequest message;
  *message.mutable_header() = HeaderOf(id, "file", Header::IDENTITY, "0123456789");
  stream->Write(message);
  message.set_chunk("01234");
  stream->Write(message);
  message.set_chunk("");
  stream->Write(message);
  message.set_chunk("56789");
  constexpr int kFieldOfALaterVersion = 1000;
  message.GetReflection()->MutableUnknownFields(&message)->AddVarint(kFieldOfALaterVersion, 1);
  stream->Write(message);
  stream->WritesDone();
  ASSERT_OK(rpc::FromGrpc(stream->Finish()));
  ASSERT_OK(Report(id, "file"));
  EXPECT_EQ(Download(DownloadOf(id, "file", 0)).second, "0123456789");
}

TEST_F(ServerTest, TakesAnEmptyChunkAfterTheWholeContent) {
  const std::string id = Register("laptop");
  Call call;
  v1::UploadFileResponse response;
  const auto stream = ingest_->UploadFile(&call, &response);
  v1::UploadFileRequest message;
  *message.mutable_header() = HeaderOf(id, "file", Header::IDENTITY, "content");
  message.mutable_header()->set_first_chunk("content");
  stream->Write(message);
  message.set_chunk("");
  stream->Write(message);
  stream->WritesDone();
  ASSERT_OK(rpc::FromGrpc(stream->Finish()));
  ASSERT_OK(Report(id, "file"));
  EXPECT_EQ(Download(DownloadOf(id, "file", 0)).second, "content");
}

TEST_F(ServerTest, ReturnsTheCallersRequestIdAndMakesOneIfThereIsNone) {
  const auto returned_id = [&](const std::string& sent) {
    Call call;
    if (!sent.empty()) call.AddMetadata("x-request-id", sent);
    v1::GetStatusResponse status;
    EXPECT_TRUE(admin_->GetStatus(&call, {}, &status).ok());
    const auto found = call.GetServerInitialMetadata().find("x-request-id");
    if (found == call.GetServerInitialMetadata().end()) return std::string();
    return std::string(found->second.data(), found->second.size());
  };
  EXPECT_EQ(returned_id("abc-123"), "abc-123");
  const std::string made = returned_id("");
  EXPECT_FALSE(made.empty());
  EXPECT_NE(made, returned_id(""));
  EXPECT_NE(returned_id(std::string(129, 'a')), std::string(129, 'a'));
  EXPECT_NE(returned_id("two words"), "two words");
}

TEST_F(ServerTest, WritesOneLineACallAndNothingAForgerCouldUse) {
  const LogCapture log;
  Call call;
  call.AddMetadata("x-request-id", "abc-123");
  v1::GetClientRequest request;
  request.set_client_id("x\nrid=forged");
  v1::GetClientResponse response;
  EXPECT_FALSE(catalog_->GetClient(&call, request, &response).ok());
  server_->Drain(absl::Seconds(10));  // The line is written by then.
  EXPECT_THAT(log.text(),
              HasSubstr("rid=abc-123 rpc=GetClient client=- outcome=INVALID_FIELD bytes=0 ms="));
  EXPECT_THAT(log.text(), Not(HasSubstr("forged")));
}

TEST_F(ServerTest, IsNotReachableOnceDrained) {
  server_->Drain(absl::Seconds(10));
  Call call;
  v1::GetStatusResponse status;
  EXPECT_THAT(rpc::FromGrpc(admin_->GetStatus(&call, {}, &status)),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ServerTest, FinishesWhatItHasBegunAndTellsOthersThatItDrains) {
  const std::string id = Register("laptop");
  Call call;
  v1::UploadFileResponse response;
  const auto stream = ingest_->UploadFile(&call, &response);
  v1::UploadFileRequest message;
  *message.mutable_header() = HeaderOf(id, "file", Header::IDENTITY, "content");
  ASSERT_TRUE(stream->Write(message));
  const auto deadline = std::chrono::steady_clock::now() + kDeadline;
  while (idle_.is_idle() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  const std::jthread drain([&] { server_->Drain(absl::FromChrono(kDeadline)); });
  absl::Status refused;
  while (refused.ok() && std::chrono::steady_clock::now() < deadline) {
    Call asking;
    v1::GetStatusResponse status;
    refused = rpc::FromGrpc(admin_->GetStatus(&asking, {}, &status));
  }
  EXPECT_THAT(refused, HasReason(Reason::kDraining));
  EXPECT_THAT(Report(id, "file"), HasReason(Reason::kDraining));
  EXPECT_THAT(Upload(message.header(), "content").first, HasReason(Reason::kDraining));
  message.set_chunk("content");
  EXPECT_TRUE(stream->Write(message));
  stream->WritesDone();
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), IsOk());
}

// Calls the service until it is refused, on a connection of its own; how that was told. `calling`
// counts those who began.
absl::Status CallUntilRefused(const std::string& address, std::latch& calling) {
  grpc::ChannelArguments own_connection;
  own_connection.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), own_connection);
  const auto ingest = v1::IngestService::NewStub(channel);
  const auto admin = v1::AdminService::NewStub(channel);
  const auto call_both_interfaces = [&]() -> absl::Status {
    Call registering;
    v1::RegisterClientRequest request;
    request.set_name("laptop");
    v1::RegisterClientResponse client;
    RETURN_IF_ERROR(rpc::FromGrpc(ingest->RegisterClient(&registering, request, &client)));
    Call asking;
    v1::GetStatusResponse status;
    return rpc::FromGrpc(admin->GetStatus(&asking, {}, &status));
  };
  absl::Status result = call_both_interfaces();
  calling.count_down();
  while (result.ok()) result = call_both_interfaces();
  return result;
}

TEST_F(ServerTest, TellsNoCallThatItWasCancelledWhenItDrainsUnderLoad) {
  constexpr int kRounds = 20;
  constexpr int kCallers = 16;
  for (int round = 0; round < kRounds; ++round) {
    rpc::DrainGate gate;
    const ServiceContext context = ContextWith(gate);
    const auto server = *Server::Start(*rpc::Acceptor::Listen("127.0.0.1:0"), context,
                                       {absl::Now(), {}, "plain", {}}, {});
    std::latch calling(kCallers);
    std::vector<std::future<absl::Status>> callers;
    for (int i = 0; i < kCallers; ++i) {
      callers.push_back(std::async(std::launch::async, CallUntilRefused, server->bound_address(),
                                   std::ref(calling)));
    }
    calling.wait();
    server->Drain(absl::FromChrono(kDeadline));
    for (std::future<absl::Status>& caller : callers)
      EXPECT_THAT(caller.get(), StatusIs(absl::StatusCode::kUnavailable));
  }
}

TEST_F(ServerTest, DoesNotWaitForThoseWhoWatch) {
  rpc::DrainGate gate;
  ClientTrace trace;
  ServiceContext context = ContextWith(gate);
  context.trace = &trace;
  const auto server = *Server::Start(*rpc::Acceptor::Listen("127.0.0.1:0"), context,
                                     {absl::Now(), {}, "plain", {}}, {});
  const auto admin = v1::AdminService::NewStub(
      grpc::CreateChannel(server->bound_address(), grpc::InsecureChannelCredentials()));
  Call call;
  const auto stream = admin->TraceClient(&call, {});
  stream->WaitForInitialMetadata();
  server->Drain(absl::InfiniteDuration());
  v1::TraceClientResponse event;
  EXPECT_FALSE(stream->Read(&event));
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), HasReason(Reason::kDraining));
}

TEST_F(ServerTest, DoesNotWaitForAStoreThatDoesNotAnswer) {
  const std::string id = Register("laptop");
  service_.uploads.inline_blob_limit = 0;
  service_.Store(id, "file", std::string(3 << 20, 'x'));
  rpc::DrainGate gate;
  SilentBlobStore silent;
  const ServiceContext context = ContextWith(gate, service_.catalog, silent);
  const auto server = *Server::Start(*rpc::Acceptor::Listen("127.0.0.1:0"), context,
                                     {absl::Now(), {}, "plain", {}}, {});
  Call call;
  const auto stream =
      v1::CatalogService::NewStub(
          grpc::CreateChannel(server->bound_address(), grpc::InsecureChannelCredentials()))
          ->DownloadFile(&call, DownloadOf(id, "file", 0));
  silent.WaitUntilAsked();
  const auto begin = std::chrono::steady_clock::now();
  server->Drain(absl::Milliseconds(10));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kDeadline / 2);
  v1::DownloadFileResponse message;
  while (stream->Read(&message)) continue;
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(ServerTest, UsesTheKeysForAsLongAsACallGoesOnThatDoesNotOnlyWatch) {
  const std::string id = Register("laptop");
  service_.Store(id, "file", std::string(64 << 20, 'x'));  // More than flow control lets through.
  const crypto::KeyRing& keys = service_.master_key;
  rpc::DrainGate gate;
  ClientTrace trace;
  ServiceContext context = ContextWith(gate);
  context.trace = &trace;
  const auto server = *Server::Start(*rpc::Acceptor::Listen("127.0.0.1:0"), context,
                                     {absl::Now(), {}, "plain", {}}, {});
  const auto channel =
      grpc::CreateChannel(server->bound_address(), grpc::InsecureChannelCredentials());
  Call watching;
  const auto watch = v1::AdminService::NewStub(channel)->TraceClient(&watching, {});
  watch->WaitForInitialMetadata();
  EXPECT_TRUE(keys.HaveEnded(keys.NextUse()));
  Call call;
  const auto stream =
      v1::CatalogService::NewStub(channel)->DownloadFile(&call, DownloadOf(id, "file", 0));
  v1::DownloadFileResponse message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_FALSE(keys.HaveEnded(keys.NextUse()));
  call.TryCancel();
  watching.TryCancel();
  server->Drain(absl::InfiniteDuration());
  EXPECT_TRUE(keys.HaveEnded(keys.NextUse()));
}

TEST_F(ServerTest, UsesTheKeysUntilItIsToldThatAnUploadIsKept) {
  const std::string id = Register("laptop");
  const crypto::KeyRing& keys = service_.master_key;
  rpc::DrainGate gate;
  OverheardCatalog catalog(service_.catalog);
  const ServiceContext context = ContextWith(gate, catalog, service_.blobs);
  const auto server = *Server::Start(*rpc::Acceptor::Listen("127.0.0.1:0"), context,
                                     {absl::Now(), {}, "plain", {}}, {});
  const auto ingest = v1::IngestService::NewStub(
      grpc::CreateChannel(server->bound_address(), grpc::InsecureChannelCredentials()));
  std::atomic<int> told = 0;
  catalog.before_told = [&] {
    ++told;
    EXPECT_FALSE(keys.HaveEnded(keys.NextUse()));
  };
  for (const bool is_quick : {true, false}) {
    Call call;
    v1::UploadFileResponse response;
    const auto stream = ingest->UploadFile(&call, &response);
    v1::UploadFileRequest message;
    *message.mutable_header() = HeaderOf(id, "file", Header::IDENTITY, "content");
    if (is_quick) message.mutable_header()->set_first_chunk("content");
    ASSERT_TRUE(stream->Write(message));
    message.set_chunk("content");
    if (!is_quick) stream->Write(message);
    stream->WritesDone();
    EXPECT_THAT(rpc::FromGrpc(stream->Finish()), IsOk());
  }
  EXPECT_GE(told, 2);
  server->Drain(absl::InfiniteDuration());
  EXPECT_TRUE(keys.HaveEnded(keys.NextUse()));
}

// With an audit log.
class AuditTest : public ServerTest {
 protected:
  // With a server of its own: another's threads may have looked at the context by now.
  AuditTest() {
    idle_server_ = std::move(server_);
    context_.audit_log = log_.get();
    context_.audit_queue = &queue_;
    server_ = *Server::Start(*rpc::Acceptor::Listen("127.0.0.1:0"), context_,
                             {absl::FromUnixSeconds(42), {"debug"}, "plain", {}}, {});
    channel_ = grpc::CreateChannel(server_->bound_address(), grpc::InsecureChannelCredentials());
    ingest_ = v1::IngestService::NewStub(channel_);
    catalog_ = v1::CatalogService::NewStub(channel_);
    admin_ = v1::AdminService::NewStub(channel_);
  }
  ~AuditTest() override { server_.reset(); }  // What it tells of goes first otherwise.

  std::unique_ptr<Server> idle_server_;  // It shares the gate, which closes with it.

  // Behind the one that begins the log, those that wait as well.
  std::vector<storage::AuditEntry> Entries() {
    queue_.Close();
    return service_.catalog
        .Read([](storage::Snapshot& snapshot) { return snapshot.ListAuditEntries(1, {}, 100); })
        .value();
  }
  // Each as "action object outcome".
  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    for (const storage::AuditEntry& entry : Entries())
      texts.push_back(absl::StrCat(entry.action, " ", entry.object, " ", entry.outcome));
    return texts;
  }
  std::string StoreFile(const std::string& file_name) {
    const std::string id = Register("laptop");
    EXPECT_THAT(Upload(HeaderOf(id, file_name, Header::IDENTITY, "x"), "x").first, IsOk());
    EXPECT_THAT(Report(id, file_name), IsOk());
    return id;
  }
  absl::Status DeleteFile(const std::string& id, const std::string& file_name) {
    Call call;
    v1::DeleteFileRequest request;
    request.set_client_id(id);
    request.set_file_name(file_name);
    v1::DeleteFileResponse response;
    return rpc::FromGrpc(catalog_->DeleteFile(&call, request, &response));
  }

  const storage::TempFolder folder_;
  const std::unique_ptr<audit::AuditLog> log_ =
      audit::AuditLog::Open(service_.catalog, std::string(32, 'k'), folder_.path() + "/head",
                            service_.clock.Now())
          .value();
  audit::AuditQueue queue_{service_.catalog, *log_, {}};
};

TEST_F(AuditTest, TellsWhoDidWhatToWhat) {
  const std::string id = StoreFile("a %25");
  EXPECT_EQ(Texts(), std::vector<std::string>());  // Of nothing that clients do.
  ASSERT_THAT(DeleteFile(id, "a %25"), IsOk());
  const std::vector<storage::AuditEntry> entries = Entries();
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].time, service_.clock.Now());
  EXPECT_EQ(entries[0].actor, "insecure");
  EXPECT_EQ(entries[0].role, "");
  EXPECT_THAT(entries[0].peer, ::testing::StartsWith("127.0.0.1:"));
  EXPECT_EQ(entries[0].action, "file delete");
  EXPECT_EQ(ToUuid(*entries[0].client), id);
  EXPECT_EQ(entries[0].object, "a %25");
  EXPECT_EQ(entries[0].outcome, "OK");
  EXPECT_EQ(entries[0].detail, "");
}

TEST_F(AuditTest, TellsOfDownloadsAndWhichVersionTheyWere) {
  const std::string id = StoreFile("a");
  ASSERT_THAT(Download(DownloadOf(id, "a", 0)).first, IsOk());
  ASSERT_THAT(Download(DownloadOf(id, "none", 0)).first, HasReason(Reason::kFileNotFound));
  EXPECT_EQ(Texts(), (std::vector<std::string>{"version download a OK",
                                               "version download none FILE_NOT_FOUND"}));
  EXPECT_GT(Entries()[0].version_id, 0);
}

TEST_F(AuditTest, TellsOfWhatHasNoTransactionAndOfWhatFailed) {
  ASSERT_THAT(SetLogLevel("*", v1::LOG_LEVEL_INFO), IsOk());
  EXPECT_FALSE(DeleteFile("no id\n", "a").ok());
  EXPECT_FALSE(DeleteFile(ToUuid(ClientId()), "\x7F%").ok());
  EXPECT_EQ(Texts(), (std::vector<std::string>{"log level  OK", "file delete a INVALID_FIELD",
                                               "file delete %7F%25 INVALID_FIELD"}));
  EXPECT_EQ(Entries()[0].detail, "module_pattern: \"*\" level: LOG_LEVEL_INFO");
}

TEST_F(AuditTest, ListsAndVerifiesIt) {
  for (int i = 0; i < 3; ++i) ASSERT_THAT(SetLogLevel("*", v1::LOG_LEVEL_INFO), IsOk());
  v1::ListAuditEntriesRequest request;
  request.set_page_size(3);
  v1::ListAuditEntriesResponse page;
  Call calls[3];
  ASSERT_TRUE(admin_->ListAuditEntries(&calls[0], request, &page).ok());
  EXPECT_EQ(page.entries_size(), 3);
  EXPECT_EQ(page.entries(0).action(), "audit begin");
  request.set_page_token(page.next_page_token());
  ASSERT_TRUE(admin_->ListAuditEntries(&calls[1], request, &page).ok());
  ASSERT_EQ(page.entries_size(), 1);
  EXPECT_EQ(page.entries(0).number(), 4);
  EXPECT_EQ(page.next_page_token(), "");
  const auto stream = admin_->VerifyAudit(&calls[2], {});
  v1::VerifyAuditResponse event;
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.checked_count(), 4);
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.summary().entry_count(), 4);
  EXPECT_EQ(event.summary().finding_count(), 0);
  EXPECT_THAT(event.summary().head(), ::testing::StartsWith("4 "));
  EXPECT_FALSE(stream->Read(&event));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(AuditTest, ListsAlsoWhatIsNoText) {
  storage::AuditEntry entry = audit::EntryOfService("state restore", "from /\xFF/\xC3\xA9", {});
  entry.actor = "\xC3\xA9";
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
    return log_->Append(transaction, entry, storage::AuditRoom::kAlways);
  }));
  v1::ListAuditEntriesResponse page;
  Call call;
  ASSERT_TRUE(admin_->ListAuditEntries(&call, {}, &page).ok());
  ASSERT_EQ(page.entries_size(), 2);
  EXPECT_EQ(page.entries(1).actor(), "\xC3\xA9");
  EXPECT_EQ(page.entries(1).detail(), "from /%FF/\xC3\xA9");
}

class SilentPeerTest : public ServerTest {
 protected:
  SilentPeerTest() : ServerTest(absl::Milliseconds(100)) {}
};

TEST_F(SilentPeerTest, AnUploadThatGoesSilentIsCancelled) {
  const std::string id = Register("laptop");
  Call call;
  v1::UploadFileResponse response;
  const auto stream = ingest_->UploadFile(&call, &response);
  v1::UploadFileRequest message;
  *message.mutable_header() = HeaderOf(id, "file", Header::IDENTITY, "content");
  ASSERT_TRUE(stream->Write(message));
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(service_.Count().versions, 0);
}

TEST_F(SilentPeerTest, AnUploadThatDoesNotEndIsCancelled) {
  const std::string id = Register("laptop");
  Call call;
  v1::UploadFileResponse response;
  const auto stream = ingest_->UploadFile(&call, &response);
  v1::UploadFileRequest message;
  *message.mutable_header() = HeaderOf(id, "file", Header::IDENTITY, "content");
  message.mutable_header()->set_first_chunk("content");
  ASSERT_TRUE(stream->Write(message));
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(SilentPeerTest, AnUploadThatSendsNothingIsCancelled) {
  Call call;
  v1::UploadFileResponse response;
  const auto stream = ingest_->UploadFile(&call, &response);
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(SilentPeerTest, ADownloadThatNobodyReadsIsCancelled) {
  const std::string id = Register("laptop");
  service_.uploads.inline_blob_limit = 0;
  service_.Store(id, "file", std::string(64 << 20, 'x'));  // More than flow control lets through.
  const LogCapture log;
  Call call;
  const auto stream = catalog_->DownloadFile(&call, DownloadOf(id, "file", 0));
  stream->WaitForInitialMetadata();
  // Waits for the handler, whose thread is stuck until the call is cancelled; the caller sees that
  // only behind the data that it has not read.
  server_->Drain(2 * absl::FromChrono(kDeadline));
  EXPECT_THAT(log.text(), HasSubstr("moved nothing for too long"));
  v1::DownloadFileResponse message;
  while (stream->Read(&message)) continue;
  EXPECT_FALSE(stream->Finish().ok());
}

}  // namespace
}  // namespace backup
