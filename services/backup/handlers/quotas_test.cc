#include "services/backup/handlers/quotas.h"

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/error.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/pack_footer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/get_client.h"
#include "services/backup/handlers/get_status.h"
#include "services/backup/handlers/transact.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/handlers/upload_header.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/log_capture.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using ::testing::ElementsAre;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::LogCapture;
using testing::MemoryService;
using ::testing::Not;

constexpr char kNobody[] = "11111111-2222-4333-8444-555555555555";

class QuotasTest : public ::testing::Test {
 protected:
  QuotasTest() { service_.trash.retention = absl::Hours(1); }

  static v1::Quota QuotaOf(v1::Quota::Scope scope, const std::string& client,
                           const storage::QuotaLimits& limits) {
    v1::Quota quota;
    quota.set_scope(scope);
    quota.set_client_id(client);
    quota.set_soft_bytes(limits.soft_bytes);
    quota.set_hard_bytes(limits.hard_bytes);
    quota.set_soft_files(limits.soft_files);
    quota.set_hard_files(limits.hard_files);
    return quota;
  }
  absl::StatusOr<v1::SetQuotaResponse> Set(const v1::Quota& quota) {
    v1::SetQuotaRequest request;
    *request.mutable_quota() = quota;
    return Transact(service_.catalog, [&] { return SetQuota::Prepare(service_.catalog, request); });
  }
  absl::Status SetOwn(const storage::QuotaLimits& limits) {
    return Set(QuotaOf(v1::Quota::CLIENT, client_, limits)).status();
  }
  absl::Status SetStores(const storage::QuotaLimits& limits) {
    return Set(QuotaOf(v1::Quota::STORE, "", limits)).status();
  }
  absl::Status SetEveryClients(const storage::QuotaLimits& limits) {
    return Set(QuotaOf(v1::Quota::EVERY_CLIENT, "", limits)).status();
  }
  absl::StatusOr<v1::QuotaUse> Get(v1::Quota::Scope scope, const std::string& client) {
    v1::GetQuotaRequest request;
    request.set_scope(scope);
    request.set_client_id(client);
    auto response = service_.Read(GetQuota, request);
    if (!response.ok()) return response.status();
    return response->use();
  }
  absl::StatusOr<v1::DeleteQuotaResponse> Delete(v1::Quota::Scope scope,
                                                 const std::string& client) {
    v1::DeleteQuotaRequest request;
    request.set_scope(scope);
    request.set_client_id(client);
    return Transact(service_.catalog, [&] { return DeleteQuota::Prepare(request); });
  }
  v1::UploadFileHeader Header(const std::string& client, const std::string& name, size_t size) {
    v1::UploadFileHeader header;
    header.set_client_id(client);
    header.set_file_name(name);
    header.set_encoding(v1::UploadFileHeader::IDENTITY);
    header.set_encoded_size(static_cast<int64_t>(size));
    return header;
  }
  absl::StatusOr<v1::UploadFileResponse> Upload(const std::string& name, size_t size,
                                                const std::string& client = "") {
    const std::string& owner = client.empty() ? client_ : client;
    return service_.Upload(Header(owner, name, size), std::string(size, 'x'));
  }
  absl::StatusOr<v1::UndeleteFileResponse> UndeleteFile(const std::string& name) {
    v1::UndeleteFileRequest request;
    request.set_client_id(client_);
    request.set_file_name(name);
    return service_.UndeleteFile(request);
  }

  MemoryService service_;
  const std::string client_ = service_.Register("client");
  const std::string other_ = service_.Register("other");
};

int CountOf(const std::string& text, const LogCapture& log) {
  int count = 0;
  const std::string logged = log.text();
  for (size_t at = logged.find(text); at != std::string::npos; at = logged.find(text, at + 1))
    ++count;
  return count;
}

// What must not be read.
class UntouchedSource final : public ByteSource {
 public:
  absl::StatusOr<absl::string_view> Read() override {
    ADD_FAILURE() << "the body was read";
    return absl::string_view();
  }
};

TEST_F(QuotasTest, SaysOfEachQuotaWhatIsUsed) {
  service_.Store(client_, "a", "12345");
  EXPECT_OK(SetOwn({.soft_bytes = 4, .hard_bytes = 9}));
  EXPECT_OK(SetStores({.hard_files = 7}));
  EXPECT_OK(SetEveryClients({.hard_files = 3}));
  std::vector<std::string> listed;
  v1::ListQuotasRequest request;
  request.set_page_size(1);
  do {
    const auto page = service_.Read(ListQuotas, request);
    ASSERT_OK(page);
    ASSERT_EQ(page->uses_size(), 1);
    const v1::QuotaUse& use = page->uses(0);
    listed.push_back(absl::StrCat(v1::Quota::Scope_Name(use.quota().scope()), " ",
                                  use.quota().hard_bytes(), " ", use.quota().hard_files(), " ",
                                  use.used_bytes(), " ", use.used_files()));
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(listed, ElementsAre("STORE 0 7 5 1", "EVERY_CLIENT 0 3 0 0", "CLIENT 9 0 5 1"));
  EXPECT_EQ(Get(v1::Quota::CLIENT, other_)->quota().scope(), v1::Quota::EVERY_CLIENT);
  EXPECT_EQ(Get(v1::Quota::CLIENT, client_)->quota().client_id(), client_);
  v1::GetClientRequest get;
  get.set_client_id(client_);
  EXPECT_EQ(service_.Read(GetClient, get)->client().quota().used_bytes(), 5);
  const absl::Status unknown = absl::UnknownError("nobody looked");
  const DiskUse disk{unknown, unknown, unknown};
  const auto status = service_.catalog.Read([&](storage::Snapshot& snapshot) {
    return GetStatus(snapshot, service_.clock, {}, disk, service_.clock.Now());
  });
  EXPECT_EQ(status->store_quota().used_files(), 1);
  EXPECT_EQ(status->clients_beyond_soft_limits(), 1);
}

TEST_F(QuotasTest, AreForgottenOnce) {
  EXPECT_OK(SetOwn({.hard_bytes = 9}));
  EXPECT_TRUE(Delete(v1::Quota::CLIENT, client_)->was_there());
  EXPECT_FALSE(Delete(v1::Quota::CLIENT, client_)->was_there());
  EXPECT_FALSE(Get(v1::Quota::CLIENT, client_)->has_quota());
  EXPECT_FALSE(Delete(v1::Quota::STORE, "")->was_there());
}

TEST_F(QuotasTest, MustMakeSense) {
  const auto refuses = [&](const v1::Quota& quota, const char* field, const char* why) {
    const absl::Status refused = Set(quota).status();
    EXPECT_THAT(refused, HasReason(Reason::kInvalidField));
    EXPECT_EQ(SubjectOf(refused), field);
    EXPECT_THAT(refused.message(), HasSubstr(why));
  };
  constexpr int64_t kTooMuch = (int64_t{1} << 53) + 1;
  refuses(QuotaOf(v1::Quota::SCOPE_UNSPECIFIED, "", {.hard_bytes = 1}), "quota.scope", "STORE");
  refuses(QuotaOf(v1::Quota::STORE, client_, {.hard_bytes = 1}), "quota.client_id", "empty");
  refuses(QuotaOf(v1::Quota::CLIENT, "", {.hard_bytes = 1}), "quota.client_id", "UUID");
  refuses(QuotaOf(v1::Quota::STORE, "", {}), "quota", "no limit");
  refuses(QuotaOf(v1::Quota::STORE, "", {.soft_bytes = -1}), "quota.soft_bytes", "is -1");
  refuses(QuotaOf(v1::Quota::STORE, "", {.hard_bytes = -1}), "quota.hard_bytes", "from 0 to");
  refuses(QuotaOf(v1::Quota::STORE, "", {.soft_files = kTooMuch}), "quota.soft_files",
          "9007199254740992");
  refuses(QuotaOf(v1::Quota::STORE, "", {.hard_files = kTooMuch}), "quota.hard_files", "from 0");
  refuses(QuotaOf(v1::Quota::STORE, "", {.soft_bytes = 3, .hard_bytes = 2}), "quota.soft_bytes",
          "is 3, more than quota.hard_bytes, which is 2");
  EXPECT_THAT(Set(QuotaOf(v1::Quota::CLIENT, kNobody, {.hard_bytes = 1})),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(Get(v1::Quota::CLIENT, kNobody).status(), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(Delete(v1::Quota::CLIENT, kNobody), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(Get(v1::Quota::SCOPE_UNSPECIFIED, "").status(), HasReason(Reason::kInvalidField));
  EXPECT_EQ(service_.Read(ListQuotas, v1::ListQuotasRequest())->uses_size(), 0);
}

TEST_F(QuotasTest, AreNotBelowWhatIsUsed) {
  service_.Store(client_, "a", "12345");
  service_.Store(client_, "b", "12345");
  const auto refuses = [&](const absl::Status& set, const char* field) {
    EXPECT_THAT(set, HasReason(Reason::kInvalidField));
    EXPECT_EQ(SubjectOf(set), field);
    EXPECT_THAT(set.message(), HasSubstr("uses; nothing was changed"));
  };
  refuses(SetOwn({.hard_bytes = 9}), "quota.hard_bytes");
  refuses(SetOwn({.hard_bytes = 10, .hard_files = 1}), "quota.hard_files");
  refuses(SetStores({.hard_bytes = 9}), "quota.hard_bytes");
  refuses(SetEveryClients({.hard_bytes = 9}), "quota.hard_bytes");
  EXPECT_THAT(SetEveryClients({.hard_bytes = 9}).message(),
              HasSubstr(absl::StrCat("would be 9, less than the 10 that client ", client_)));
  EXPECT_EQ(service_.Read(ListQuotas, v1::ListQuotasRequest())->uses_size(), 0);
  EXPECT_OK(SetOwn({.hard_bytes = 10, .hard_files = 2}));
  // Who has a quota of its own is not every client.
  EXPECT_OK(SetEveryClients({.hard_bytes = 9}));
  const absl::Status stays = Delete(v1::Quota::CLIENT, client_).status();
  refuses(stays, "client_id");
  EXPECT_THAT(stays.message(), HasSubstr("every client's hard_bytes would be 9, less than the 10"));
  EXPECT_EQ(Get(v1::Quota::CLIENT, client_)->quota().hard_bytes(), 10);
  // A soft one only says what is so.
  EXPECT_OK(SetOwn({.soft_bytes = 1}));
}

TEST_F(QuotasTest, MayBeRaisedToLessThanWhatIsUsed) {
  service_.Store(client_, "a", "123456");
  service_.Store(client_, "b", "");
  v1::DeleteClientRequest request;
  request.set_client_id(client_);
  ASSERT_OK(service_.DeleteClient(request));
  EXPECT_OK(SetEveryClients({.hard_bytes = 3}));
  // Whoever is taken back is as he was, beyond whatever was set meanwhile.
  v1::UndeleteClientRequest undelete;
  undelete.set_client_id(client_);
  ASSERT_OK(service_.UndeleteClient(undelete));
  EXPECT_EQ(Get(v1::Quota::CLIENT, client_)->used_bytes(), 6);
  EXPECT_THAT(Upload("a", 1), HasReason(Reason::kClientQuota));
  EXPECT_OK(Upload("a", 0));
  EXPECT_OK(SetEveryClients({.soft_bytes = 1, .hard_bytes = 3}));
  EXPECT_OK(SetEveryClients({.hard_bytes = 4}));
  EXPECT_THAT(SetEveryClients({.hard_bytes = 3}), HasReason(Reason::kInvalidField));
  EXPECT_THAT(SetEveryClients({.hard_bytes = 4, .hard_files = 1}),
              HasReason(Reason::kInvalidField));
  EXPECT_OK(SetOwn({.hard_bytes = 5}));
  EXPECT_THAT(SetOwn({.hard_bytes = 4}), HasReason(Reason::kInvalidField));
  EXPECT_OK(SetOwn({.hard_bytes = 5, .hard_files = 2}));
  EXPECT_THAT(Delete(v1::Quota::CLIENT, client_), HasReason(Reason::kInvalidField));
  EXPECT_OK(SetEveryClients({.hard_bytes = 5}));
  EXPECT_OK(Delete(v1::Quota::CLIENT, client_));
}

TEST_F(QuotasTest, RefuseAnUploadBeforeItsBodyIsRead) {
  service_.Store(client_, "a", "12345");
  EXPECT_OK(SetOwn({.hard_bytes = 10, .hard_files = 2}));
  UntouchedSource body;
  const auto refused =
      UploadFile::Prepare(service_.upload_resources, Header(client_, "a", 6), body);
  EXPECT_THAT(refused.status(), HasReason(Reason::kClientQuota));
  EXPECT_EQ(SubjectOf(refused.status()), absl::StrCat("client ", client_));
  EXPECT_THAT(refused.status().message(),
              HasSubstr("hard_bytes is 10, 5 are used and 6 would come"));
  EXPECT_OK(Upload("a", 4));
  EXPECT_OK(Upload("b", 1));
  const auto one_file_more =
      UploadFile::Prepare(service_.upload_resources, Header(client_, "c", 0), body);
  EXPECT_THAT(one_file_more.status(), HasReason(Reason::kClientQuota));
  EXPECT_OK(Upload("b", 0));
  EXPECT_OK(Upload("a", 9, other_));
  EXPECT_EQ(service_.Client(client_).stored_bytes, 10);
}

TEST_F(QuotasTest, KnowWhatCiphertextIsAtLeast) {
  EXPECT_OK(SetOwn({.hard_bytes = 100}));
  UntouchedSource body;
  v1::UploadFileHeader header = Header(client_, "a", 144);
  header.set_encoding(v1::UploadFileHeader::AES_CBC_ZERO_IV);
  EXPECT_THAT(UploadFile::Prepare(service_.upload_resources, header, body).status(),
              HasReason(Reason::kClientQuota));
  header.set_encoded_size(112);  // Maybe it is small enough: the key is what it lacks.
  EXPECT_THAT(UploadFile::Prepare(service_.upload_resources, header, body).status(),
              HasReason(Reason::kKeyNotSet));
  header.set_original_size(101);
  EXPECT_THAT(UploadFile::Prepare(service_.upload_resources, header, body).status(),
              HasReason(Reason::kClientQuota));
}

TEST_F(QuotasTest, KnowOfEachEncodingWhatItIsAtLeast) {
  const auto least = [&](v1::UploadFileHeader::Encoding encoding, int64_t encoded_size,
                         int segment_size) {
    v1::UploadFileHeader header = Header(client_, "a", static_cast<size_t>(encoded_size));
    header.set_encoding(encoding);
    header.set_segment_size(segment_size);
    if (encoding == v1::UploadFileHeader::AES_CBC ||
        encoding == v1::UploadFileHeader::AES_CBC_SEGMENTS) {
      header.set_initial_vector(v1::UploadFileHeader::IN_FRONT);
      header.set_padding(v1::UploadFileHeader::ZEROS);
    }
    return ParseUploadHeader(header, service_.clock.Now()).value().least_size();
  };
  EXPECT_EQ(least(v1::UploadFileHeader::IDENTITY, 9, 0), 9);
  EXPECT_EQ(least(v1::UploadFileHeader::AES_CBC_ZERO_IV, 16, 0), 0);
  EXPECT_EQ(least(v1::UploadFileHeader::AES_CBC, 144, 0), 112);
  EXPECT_EQ(least(v1::UploadFileHeader::AES_CBC, 0, 0), 0);
  EXPECT_EQ(least(v1::UploadFileHeader::AES_CBC_SEGMENTS, 480, 48), 160);
  EXPECT_EQ(least(v1::UploadFileHeader::AES_CBC_SEGMENTS, 496, 48), 144);
  EXPECT_EQ(least(v1::UploadFileHeader::AES_CBC_SEGMENTS, 320, 32), 0);
  EXPECT_EQ(least(v1::UploadFileHeader::AES_CBC_SEGMENTS, 0, 0), 0);
  EXPECT_EQ(least(v1::UploadFileHeader::AES_CBC_ZERO_IV_SEGMENTS, 0, 0), 0);
}

// A client that found its file damaged says so on one connection and sends it on another.
TEST_F(QuotasTest, LetAFileComeAgainBeforeTheNoticeOfIt) {
  EXPECT_OK(SetOwn({.hard_bytes = 10, .hard_files = 1}));
  EXPECT_OK(SetStores({.hard_bytes = 10, .hard_files = 1}));
  ASSERT_OK(Upload("a", 6));
  const std::string content(6, 'y');
  const auto prepare = [&] {
    StringSource source(content);
    return UploadFile::Prepare(service_.upload_resources, Header(client_, "a", 6), source);
  };
  const auto add = [&](UploadFile& upload) {
    return upload.Respond(service_.catalog.Run(
        [&](storage::Transaction& transaction) { return upload.Apply(transaction); }));
  };
  auto early = prepare();
  ASSERT_OK(early);
  EXPECT_THAT(add(*early), HasReason(Reason::kClientQuota));  // No notice came.
  auto again = prepare();
  ASSERT_OK(again);
  ASSERT_OK(service_.Report(client_, "a", v1::ReportTransferRequest::RETRYING));
  EXPECT_OK(add(*again));
  EXPECT_EQ(service_.Client(client_).stored_bytes, 6);
  UntouchedSource body;
  EXPECT_THAT(
      UploadFile::Prepare(service_.upload_resources, Header(client_, "a", 11), body).status(),
      HasReason(Reason::kClientQuota));
  // What is confirmed stays.
  ASSERT_OK(service_.Report(client_, "a", v1::ReportTransferRequest::VERIFIED));
  EXPECT_THAT(
      UploadFile::Prepare(service_.upload_resources, Header(client_, "a", 6), body).status(),
      HasReason(Reason::kClientQuota));
}

TEST_F(QuotasTest, NoteWhatWasObservedOfAClientThatTheyRefuse) {
  EXPECT_OK(SetOwn({.hard_bytes = 1}));
  v1::UploadFileHeader header = Header(client_, "a", 2);
  header.mutable_legacy_profile()->set_family("C");
  EXPECT_THAT(service_.Upload(header, "12"), HasReason(Reason::kClientQuota));
  EXPECT_EQ(service_.Client(client_).legacy.family, "C");
}

TEST_F(QuotasTest, OfTheStoreCountWhatIsInTheTrash) {
  const int64_t version = service_.Store(client_, "a", "12345");
  EXPECT_OK(SetStores({.hard_bytes = 9}));
  EXPECT_OK(SetOwn({.hard_bytes = 9}));
  EXPECT_OK(service_.Delete(client_, "a", version));
  EXPECT_EQ(Get(v1::Quota::CLIENT, client_)->used_bytes(), 0);
  EXPECT_EQ(Get(v1::Quota::STORE, "")->used_bytes(), 5);
  EXPECT_THAT(Upload("b", 5, other_), HasReason(Reason::kClientQuota));
  EXPECT_EQ(SubjectOf(Upload("b", 5, other_).status()), "the store");
  EXPECT_OK(Upload("b", 4, other_));
}

TEST_F(QuotasTest, KeepWhatIsTakenBackFromGoingBeyond) {
  const int64_t version = service_.Store(client_, "a", "12345");
  EXPECT_OK(SetOwn({.hard_bytes = 9}));
  EXPECT_OK(service_.Delete(client_, "a", version));
  EXPECT_OK(Upload("b", 5));
  v1::UndeleteVersionRequest request;
  request.set_client_id(client_);
  request.set_file_name("a");
  request.set_version_id(version);
  EXPECT_THAT(service_.UndeleteVersion(request), HasReason(Reason::kClientQuota));
  EXPECT_THAT(UndeleteFile("a"), HasReason(Reason::kClientQuota));
  EXPECT_EQ(service_.Client(client_).stored_bytes, 5);
  EXPECT_EQ(service_.Count().trash_versions, 1);
  EXPECT_OK(SetOwn({.hard_bytes = 10}));
  EXPECT_OK(UndeleteFile("a"));
  EXPECT_EQ(service_.Client(client_).stored_bytes, 10);
  EXPECT_EQ(Get(v1::Quota::CLIENT, client_)->used_files(), 2);
}

TEST_F(QuotasTest, LeaveWhatCameBackBeforeThereWasNoRoom) {
  constexpr int kVersions = storage::Transaction::kMaxDeletedVersions + 2;
  std::vector<int64_t> ids;
  for (int i = 0; i < kVersions; ++i) {
    ids.push_back(service_.Store(client_, "a", "1"));
    EXPECT_OK(service_.Delete(client_, "a", ids.back()));
  }
  EXPECT_OK(SetOwn({.hard_bytes = kVersions - 1}));
  EXPECT_THAT(UndeleteFile("a"), HasReason(Reason::kClientQuota));
  EXPECT_EQ(service_.Client(client_).stored_bytes, storage::Transaction::kMaxDeletedVersions);
  EXPECT_EQ(service_.Count().trash_versions, 2);
  // The oldest ones are those that are left.
  const auto back = service_.catalog.Read([&](storage::Snapshot& snapshot) {
    return snapshot.ListVersions(*ParseClientId(client_), "a", 0, kVersions);
  });
  ASSERT_OK(back);
  EXPECT_EQ(back->front().version_id, ids.back());
  EXPECT_EQ(back->back().version_id, ids[2]);
}

TEST_F(QuotasTest, AnswerTheSameUploadThatWasFasterElsewhere) {
  EXPECT_OK(SetOwn({.soft_bytes = 4, .hard_bytes = 5, .hard_files = 1}));
  v1::UploadFileHeader header = Header(client_, "a", 5);
  header.set_upload_id(kNobody);
  std::vector<UploadFile> uploads;
  for (int i = 0; i < 2; ++i) {
    StringSource source("12345");
    auto upload = UploadFile::Prepare(service_.upload_resources, header, source);
    ASSERT_OK(upload);
    uploads.push_back(*std::move(upload));
  }
  LogCapture log;
  std::vector<int64_t> ids;
  for (UploadFile& upload : uploads) {
    const auto response = upload.Respond(service_.catalog.Run(
        [&](storage::Transaction& transaction) { return upload.Apply(transaction); }));
    ASSERT_OK(response);
    ids.push_back(response->version().version_id());
  }
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_EQ(service_.Client(client_).stored_bytes, 5);
  EXPECT_EQ(CountOf("beyond a soft quota", log), 1);
}

TEST_F(QuotasTest, AnswerAnUploadThatIsThereAsBefore) {
  EXPECT_OK(SetOwn({.hard_bytes = 9}));
  v1::UploadFileHeader header = Header(client_, "a", 5);
  header.set_upload_id(kNobody);
  const auto first = service_.Upload(header, "12345");
  ASSERT_OK(first);
  const auto again = service_.Upload(header, "12345");
  ASSERT_OK(again);
  EXPECT_EQ(again->version().version_id(), first->version().version_id());
}

TEST_F(QuotasTest, SayOnceThatASoftLimitIsPassed) {
  EXPECT_OK(SetOwn({.soft_bytes = 9, .soft_files = 1}));
  LogCapture log;
  EXPECT_OK(Upload("a", 9));
  EXPECT_THAT(log.text(), Not(HasSubstr("beyond a soft quota")));
  const auto passing = Upload("a", 1);
  ASSERT_OK(passing);
  EXPECT_OK(Upload("a", 1));
  const std::string of_bytes =
      absl::StrCat("beyond a soft quota: holder=\"client ", client_, "\" soft_bytes=9 used=10\n");
  EXPECT_EQ(CountOf("beyond a soft quota", log), 1);
  EXPECT_EQ(CountOf(of_bytes, log), 1);
  EXPECT_OK(Upload("b", 0));
  EXPECT_EQ(CountOf("soft_files=1 used=2", log), 1);
  // It falls below, and passes the limit again.
  EXPECT_OK(service_.Delete(client_, "a", passing->version().version_id()));
  EXPECT_OK(service_.Delete(client_, "a", passing->version().version_id() + 1));
  EXPECT_OK(Upload("a", 1));
  EXPECT_EQ(CountOf(of_bytes, log), 2);
}

// Segment after segment, each with its size before it.
class Segments final : public ByteSource {
 public:
  // Each brings `segment_size` bytes, and there are `count` of them.
  Segments(std::string session_key, size_t segment_size, int count)
      : session_key_(std::move(session_key)), segment_size_(segment_size), count_(count) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (sent_ == count_) return absl::string_view();
    const std::string plain =
        testing::PseudoRandomBytes(segment_size_, static_cast<uint32_t>(sent_++));
    const std::string segment = testing::EncryptAsClient(session_key_, plain);
    piece_.clear();
    for (int shift = 0; shift < 32; shift += 8)
      piece_.push_back(static_cast<char>(segment.size() >> shift));
    piece_ += segment;
    return piece_;
  }
  int sent() const { return sent_; }

 private:
  const std::string session_key_;
  const size_t segment_size_;
  const int count_;
  int sent_ = 0;
  std::string piece_;
};

// Only its end tells the size of such content.
class SegmentedQuotasTest : public ::testing::Test {
 protected:
  SegmentedQuotasTest() {
    service_.uploads.inline_blob_limit = 0;
    resources_.blob_was_dropped = [this] { ++dropped_; };
    EXPECT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
      return transaction.SetQuota(
          {{ParseClientId(client_.id).value(), storage::QuotaKind::kClient}, {.hard_bytes = 1000}});
    }));
  }
  absl::Status Upload(ByteSource& source) {
    v1::UploadFileHeader header;
    header.set_client_id(client_.id);
    header.set_file_name("file");
    header.set_encoding(v1::UploadFileHeader::AES_CBC_ZERO_IV_SEGMENTS);
    return StoreUpload(resources_, header, source).status();
  }

  MemoryService service_;
  const testing::KnownClient client_ = service_.MakeClient("laptop");
  UploadResources resources_ = service_.upload_resources;
  int dropped_ = 0;
};

TEST_F(SegmentedQuotasTest, LeaveNothingOfWhatTheyRefuseAtTheEnd) {
  int refused = 0;
  for (const auto form : {storage::StorageForm::kPlain, storage::StorageForm::kSealed,
                          storage::StorageForm::kClientCiphertext}) {
    service_.uploads.form = form;
    Segments source(client_.session_key, 300'000, 2);
    EXPECT_THAT(Upload(source), HasReason(Reason::kClientQuota));
    EXPECT_EQ(service_.BlobCount(), 0);
    EXPECT_EQ(service_.Count().versions, 0);
    EXPECT_EQ(dropped_, ++refused);
    service_.Sweep();
  }
}

TEST_F(SegmentedQuotasTest, DoNotLetAllComeOfWhatHasNoRoom) {
  constexpr int kSegments = 1000;
  constexpr size_t kSize = size_t{1} << 20;
  Segments source(client_.session_key, kSize, kSegments);
  EXPECT_THAT(Upload(source), HasReason(Reason::kClientQuota));
  // A pack, and what is read ahead.
  EXPECT_LT(source.sent() * kSize, size_t{2} * content::kMaxPackSize);
  EXPECT_EQ(service_.BlobCount(), 0);
  EXPECT_EQ(dropped_, 1);
}

TEST(ConcurrentQuotasTest, UploadsAtOnceDoNotPassAHardLimitTogether) {
  constexpr int kUploads = 16;
  constexpr int kFitting = 5;
  constexpr size_t kSize = 1000;
  MemoryService service;
  const std::string client = service.Register("client");
  v1::SetQuotaRequest request;
  request.mutable_quota()->set_scope(v1::Quota::CLIENT);
  request.mutable_quota()->set_client_id(client);
  request.mutable_quota()->set_hard_bytes(kFitting * kSize + kSize - 1);
  ASSERT_OK(Transact(service.catalog, [&] { return SetQuota::Prepare(service.catalog, request); }));
  // All are prepared before any is added: each had room then.
  std::vector<UploadFile> uploads;
  for (int i = 0; i < kUploads; ++i) {
    v1::UploadFileHeader header;
    header.set_client_id(client);
    header.set_file_name(absl::StrCat("file ", i));
    header.set_encoding(v1::UploadFileHeader::IDENTITY);
    header.set_encoded_size(kSize);
    const std::string content(kSize, static_cast<char>('a' + i));
    StringSource source(content);
    auto upload = UploadFile::Prepare(service.upload_resources, header, source);
    ASSERT_OK(upload);
    uploads.push_back(*std::move(upload));
  }
  std::vector<absl::Status> outcomes(kUploads);
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < kUploads; ++i) {
      threads.emplace_back([&, i] {
        outcomes[i] = uploads[i]
                          .Respond(service.catalog.Run([&](storage::Transaction& transaction) {
                            return uploads[i].Apply(transaction);
                          }))
                          .status();
      });
    }
  }
  int added = 0;
  for (const absl::Status& outcome : outcomes) {
    added += outcome.ok();
    if (!outcome.ok()) {
      EXPECT_THAT(outcome, HasReason(Reason::kClientQuota));
    }
  }
  EXPECT_EQ(added, kFitting);
  EXPECT_EQ(service.Client(client).stored_bytes, kFitting * kSize);
  EXPECT_EQ(service.Count().versions, kFitting);
}

}  // namespace
}  // namespace backup::handlers
