#include "services/backup/handlers/upload_file.h"

#include <string>
#include <tuple>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/jobs/sweep.h"
#include "services/backup/limits.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/log_capture.h"
#include "services/backup/testing/memory_service.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/temp_folder.h"

namespace backup::handlers {
namespace {

using storage::StorageForm;
using testing::DownloadOf;
using testing::EncryptAsClient;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::HeaderOf;
using testing::IsOkAndHolds;
using testing::KnownClient;
using testing::LogCapture;
using testing::MemoryService;
using ::testing::Not;
using testing::PseudoRandomBytes;
using testing::RandomCutSource;
using testing::StatusIs;
using Header = v1::UploadFileHeader;

constexpr size_t kSizes[] = {
    0, 1, 15, 16, 17, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, (3 << 20) + 5};
constexpr char kUploadId[] = "11111111-2222-4333-8444-555555555555";

uint32_t CksumOf(const std::string& bytes) {
  Cksum cksum;
  cksum.Update(bytes);
  return cksum.Value();
}

uint32_t Crc32Of(const std::string& bytes) {
  Crc32 crc;
  crc.Update(bytes);
  return crc.Value();
}

// Of a recipe no transaction tells whether a chunk is damaged.
TEST(UploadToDiskTest, TellsThatWhatAnotherCallWasFasterWithIsDamaged) {
  const storage::TempFolder folder;
  MemoryService service(storage::SqliteCatalog::Open(folder.path() + "/catalog.db").value());
  EXPECT_OK(service.ledger.Renew());
  const KnownClient client = service.MakeClient("laptop");
  const std::string plain = PseudoRandomBytes(6'000'000);
  Header header = HeaderOf(client.id, "file", Header::IDENTITY, plain);
  header.set_upload_id(kUploadId);
  StringSource chunks(plain);
  auto slow = UploadFile::Prepare(service.upload_resources, header, chunks);
  ASSERT_OK(slow);
  const auto fast = service.Upload(header, plain);
  ASSERT_OK(fast);
  const int64_t version = fast->version().version_id();
  const auto stored = service.ChunksOf(service.Stored(client.id, "file", version));
  ASSERT_GT(stored.size(), 1u);
  ASSERT_OK(service.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.MarkDamaged(stored.back().number, stored.back().pack);
  }));
  const auto told = slow->Respond(service.catalog.Run(
      [&](storage::Transaction& transaction) { return slow->Apply(transaction); }));
  ASSERT_OK(told);
  EXPECT_EQ(told->version().version_id(), version);
  EXPECT_EQ(told->version().state(), v1::FileVersion::DAMAGED);
}

// How content is kept, and how it comes: session key bits, or 0 for unencrypted.
class UploadFormTest : public ::testing::TestWithParam<std::tuple<StorageForm, int>> {};

TEST_P(UploadFormTest, GivesBackWhatWasUploadedAtEverySize) {
  const auto [form, bits] = GetParam();
  MemoryService service;
  service.uploads.form = form;
  const KnownClient client = service.MakeClient("laptop", bits == 0 ? 128 : bits);
  for (const size_t size : kSizes) {
    const std::string plain = PseudoRandomBytes(size);
    const std::string encoded = bits == 0 ? plain : EncryptAsClient(client.session_key, plain);
    Header header = HeaderOf(client.id, "file",
                             bits == 0 ? Header::IDENTITY : Header::AES_CBC_ZERO_IV, encoded);
    header.set_original_size(static_cast<int64_t>(size));
    const auto response = service.Upload(header, encoded);
    ASSERT_OK(response) << size;
    EXPECT_EQ(response->checksum(), CksumOf(plain)) << size;
    EXPECT_EQ(response->encoded_size(), static_cast<int64_t>(encoded.size()));
    EXPECT_EQ(response->version().size_bytes(), static_cast<int64_t>(size));
    EXPECT_EQ(response->version().state(), v1::FileVersion::RECEIVED);
    const bool sealed =
        form == StorageForm::kSealed || (form == StorageForm::kClientCiphertext && bits == 0);
    EXPECT_EQ(response->version().storage(), sealed ? v1::FileVersion::SEALED
                                             : form == StorageForm::kPlain
                                                 ? v1::FileVersion::PLAIN
                                                 : v1::FileVersion::CLIENT_CIPHERTEXT);
    EXPECT_THAT(service.Download(DownloadOf(client.id, "file", response->version().version_id())),
                IsOkAndHolds(plain))
        << size;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryFormAndEncoding, UploadFormTest,
                         ::testing::Combine(::testing::Values(StorageForm::kPlain,
                                                              StorageForm::kSealed,
                                                              StorageForm::kClientCiphertext),
                                            ::testing::Values(0, 128, 256)));

class UploadFileTest : public ::testing::Test {
 protected:
  // Nothing was stored, neither as a row nor as a blob.
  void ExpectNothingStored() {
    EXPECT_EQ(service_.Count().versions, 0);
    EXPECT_EQ(service_.BlobCount(), 0);
  }
  Header Encrypted(const std::string& encoded) const {
    return HeaderOf(client_.id, "file", Header::AES_CBC_ZERO_IV, encoded);
  }
  Header Identity(const std::string& plain) const {
    return HeaderOf(client_.id, "file", Header::IDENTITY, plain);
  }

  MemoryService service_;
  const KnownClient client_ = service_.MakeClient("laptop");
};

TEST_F(UploadFileTest, KeepsSmallContentInTheCatalogAndLargeContentInABlob) {
  service_.uploads.inline_blob_limit = 1000;
  ASSERT_OK(service_.Upload(Identity(std::string(1000, 'a')), std::string(1000, 'a')));
  EXPECT_EQ(service_.BlobCount(), 0);
  ASSERT_OK(service_.Upload(Identity(std::string(1001, 'a')), std::string(1001, 'a')));
  EXPECT_EQ(service_.BlobCount(), 1);
}

TEST_F(UploadFileTest, NotesWhenItCameIfItSaysAnotherTime) {
  Header header = Identity("content");
  ASSERT_OK(service_.Upload(header, "content"));
  header.mutable_receive_time()->set_seconds(1'000'000'000);
  ASSERT_OK(service_.Upload(header, "content"));
  // A clock that is behind would have it come too early.
  const absl::Time newest = service_.clock.Now() + absl::Hours(1);
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.SaveClockNote(
        {newest, absl::ZeroDuration(), "boot", newest, std::nullopt, ""});
  }));
  ASSERT_OK(service_.Upload(header, "content"));
  const auto versions =
      service_.catalog.Read([](storage::Snapshot& snapshot) { return snapshot.ScanVersions(0, 9); })
          .value();
  ASSERT_EQ(versions.size(), 3);
  EXPECT_EQ(versions[0].version.arrive_time, std::nullopt);
  EXPECT_EQ(versions[1].version.arrive_time, service_.clock.Now());
  EXPECT_EQ(versions[2].version.arrive_time, newest);
}

TEST_F(UploadFileTest, MustBeKeptFromWhenItCameWhateverTimeItSays) {
  service_.uploads.min_retention = absl::Hours(48);
  Header header = Identity("content");
  header.mutable_receive_time()->set_seconds(1'000'000'000);
  ASSERT_OK(service_.Upload(header, "content"));
  const auto retain_until = [&] {
    return service_.catalog
        .Read([](storage::Snapshot& snapshot) { return snapshot.ListClients(ClientId(), 1); })
        .value()
        .at(0)
        .retain_until;
  };
  EXPECT_EQ(retain_until(), service_.clock.Now() + absl::Hours(48));
  // The clock is behind what it was.
  const absl::Time newest = service_.clock.Now() + absl::Hours(1);
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.SaveClockNote({newest, absl::Seconds(2), "boot", newest, std::nullopt, ""});
  }));
  ASSERT_OK(service_.Upload(header, "content"));
  EXPECT_EQ(retain_until(), newest + absl::Hours(48));
}

TEST_F(UploadFileTest, StoresNoPlaintextUnlessAskedTo) {
  const std::string plain = "a secret that must not be found in what is kept";
  for (const StorageForm form : {StorageForm::kSealed, StorageForm::kClientCiphertext}) {
    service_.uploads.form = form;
    const auto response = service_.Upload(Identity(plain), plain);
    ASSERT_OK(response);
    const storage::StoredVersion stored =
        service_.Stored(client_.id, "file", response->version().version_id());
    const auto chunks = service_.catalog.Read([&](storage::Snapshot& snapshot) {
      return snapshot.ListChunks(std::get<storage::ChunkList>(stored.content), 0, 1);
    });
    ASSERT_OK(chunks);
    EXPECT_THAT(chunks->front().payload, Not(HasSubstr("a secret")));
  }
}

TEST_F(UploadFileTest, KeepsTheClientsCiphertextExactlyAsItCame) {
  service_.uploads.form = StorageForm::kClientCiphertext;
  const std::string encoded = EncryptAsClient(client_.session_key, "content");
  const auto response = service_.Upload(Encrypted(encoded), encoded);
  ASSERT_OK(response);
  const storage::StoredVersion stored =
      service_.Stored(client_.id, "file", response->version().version_id());
  EXPECT_EQ(std::get<std::string>(stored.content).substr(0, encoded.size()), encoded);
}

TEST_F(UploadFileTest, AnswersTheCrc32OfWhatWasSentIfAskedTo) {
  const std::string encoded = EncryptAsClient(client_.session_key, "content");
  Header header = Encrypted(encoded);
  header.set_checksum_kind(v1::CRC32_OF_CIPHERTEXT);
  const auto response = service_.Upload(header, encoded);
  ASSERT_OK(response);
  EXPECT_EQ(response->checksum(), Crc32Of(encoded));
  EXPECT_EQ(response->version().checksum_kind(), v1::CRC32_OF_CIPHERTEXT);
}

TEST_F(UploadFileTest, FalsifiesOnlyTheAnswerNotTheVersionWhenAskedTo) {
  service_.uploads.corrupt_checksums = true;
  const auto response = service_.Upload(Identity("content"), "content");
  ASSERT_OK(response);
  EXPECT_EQ(response->checksum(), CksumOf("content") + 1);
  EXPECT_EQ(response->version().checksum(), CksumOf("content"));
}

TEST_F(UploadFileTest, MakesNoSecondVersionForTheSameUploadId) {
  service_.uploads.inline_blob_limit = 0;
  Header header = Identity("content");
  header.set_upload_id(kUploadId);
  const auto first = service_.Upload(header, "content");
  const auto second = service_.Upload(header, "content");
  ASSERT_OK(first);
  ASSERT_OK(second);
  EXPECT_EQ(first->SerializeAsString(), second->SerializeAsString());
  EXPECT_EQ(service_.Count().versions, 1);
  EXPECT_EQ(service_.BlobCount(), 1);
}

// A catalog's race: the upload is not known when asked for, but its row is there when it is added.
class LateRowSource final : public ByteSource {
 public:
  LateRowSource(MemoryService& service, Header header, std::string content)
      : service_(service), header_(std::move(header)), content_(std::move(content)) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (read_) return absl::string_view();
    read_ = true;
    rival_ = service_.Upload(header_, content_);
    return content_;
  }
  const absl::StatusOr<v1::UploadFileResponse>& rival() const { return rival_; }

 private:
  MemoryService& service_;
  const Header header_;
  const std::string content_;
  absl::StatusOr<v1::UploadFileResponse> rival_ = absl::UnknownError("not uploaded");
  bool read_ = false;
};

TEST_F(UploadFileTest, DeletesItsBlobWhenTheSameUploadWasFasterElsewhere) {
  service_.uploads.inline_blob_limit = 0;
  Header header = Identity("content");
  header.set_upload_id(kUploadId);
  LateRowSource chunks(service_, header, "content");
  const auto response = StoreUpload(service_.upload_resources, header, chunks);
  ASSERT_OK(chunks.rival());
  ASSERT_OK(response);
  EXPECT_EQ(response->version().version_id(), chunks.rival()->version().version_id());
  service_.Sweep();
  EXPECT_EQ(service_.BlobCount(), 1);
  EXPECT_THAT(service_.Download(DownloadOf(client_.id, "file", response->version().version_id())),
              IsOkAndHolds("content"));
}

TEST_F(UploadFileTest, RejectsContentThatCannotBeDecryptedAlwaysWithTheSameWords) {
  service_.uploads.inline_blob_limit = 0;
  const std::string good = EncryptAsClient(client_.session_key, std::string(100, 'a'));
  const std::string bad[] = {"", good.substr(0, good.size() - 1), good.substr(0, 16),
                             EncryptAsClient(std::string(16, 'x'), "under another key")};
  std::string words;
  for (const StorageForm form :
       {StorageForm::kPlain, StorageForm::kSealed, StorageForm::kClientCiphertext}) {
    service_.uploads.form = form;
    for (const std::string& encoded : bad) {
      const auto response = service_.Upload(Encrypted(encoded), encoded);
      ASSERT_THAT(response, HasReason(Reason::kContentRejected));
      if (words.empty()) words = std::string(response.status().message());
      EXPECT_EQ(response.status().message(), words);
    }
  }
  ExpectNothingStored();
}

TEST_F(UploadFileTest, StoresNothingOfAStreamThatIsShorterOrLongerThanAnnounced) {
  for (const int64_t inline_limit : {0, 65536}) {
    service_.uploads.inline_blob_limit = inline_limit;
    Header header = Identity("content");
    header.set_encoded_size(8);
    EXPECT_THAT(service_.Upload(header, "content"), HasReason(Reason::kInvalidField));
    header.set_encoded_size(6);
    EXPECT_THAT(service_.Upload(header, "content"), HasReason(Reason::kInvalidField));
  }
  ExpectNothingStored();
}

TEST_F(UploadFileTest, RejectsContentOfAnotherSizeThanTheOriginal) {
  Header header = Identity("content");
  header.set_original_size(6);
  EXPECT_THAT(service_.Upload(header, "content"), HasReason(Reason::kContentRejected));
  ExpectNothingStored();
}

TEST_F(UploadFileTest, NamesTheFieldThatIsWrong) {
  struct Case {
    const char* field;
    void (*spoil)(Header&);
  };
  const Case cases[] = {
      {"client_id", [](Header& header) { header.set_client_id("nobody"); }},
      {"header.file_name", [](Header& header) { header.set_file_name(""); }},
      {"header.file_name", [](Header& header) { header.set_file_name(std::string(256, 'n')); }},
      {"header.encoding", [](Header& header) { header.clear_encoding(); }},
      {"header.encoded_size", [](Header& header) { header.set_encoded_size(-1); }},
      {"header.original_size", [](Header& header) { header.set_original_size(-1); }},
      {"header.checksum_kind",
       [](Header& header) { header.set_checksum_kind(static_cast<v1::ChecksumKind>(7)); }},
      {"header.upload_id", [](Header& header) { header.set_upload_id("again"); }},
  };
  for (const Case& wrong : cases) {
    Header header = Identity("content");
    wrong.spoil(header);
    const absl::Status status = service_.Upload(header, "content").status();
    EXPECT_THAT(status, HasReason(Reason::kInvalidField)) << wrong.field;
    EXPECT_EQ(SubjectOf(status), wrong.field);
  }
  ExpectNothingStored();
}

TEST_F(UploadFileTest, RefusesMoreThanTheLargestFileBeforeReadingIt) {
  Header header = Identity("");
  header.set_encoded_size(kMaxFileSizeBytes + 1);
  EXPECT_THAT(service_.Upload(header, ""), HasReason(Reason::kSizeLimit));
}

TEST_F(UploadFileTest, WantsAKnownClientAndForCiphertextItsKey) {
  Header header = Identity("content");
  header.set_client_id(kUploadId);
  EXPECT_THAT(service_.Upload(header, "content"), HasReason(Reason::kClientNotFound));
  const std::string keyless = service_.Register("keyless");
  EXPECT_THAT(
      service_.Upload(HeaderOf(keyless, "file", Header::AES_CBC_ZERO_IV, "0123456789abcdef"),
                      "0123456789abcdef"),
      HasReason(Reason::kKeyNotSet));
  EXPECT_OK(service_.Upload(HeaderOf(keyless, "file", Header::IDENTITY, "content"), "content"));
}

// The clock steps back and forth between the moment when the blob is stored and the one when its
// row is added, with a sweep after each step, by this process and by another one.
TEST_F(UploadFileTest, KeepsItsBlobWhateverTheClockSaysWhileTheSweepRuns) {
  service_.uploads.inline_blob_limit = 0;
  service_.blobs.after_put = [&](const BlobId&) {
    for (const absl::Duration step : {-absl::Hours(48), absl::Hours(96), -absl::Hours(1000)}) {
      service_.clock.Advance(step);
      service_.Sweep();
    }
  };
  const auto response = service_.Upload(Identity("content"), "content");
  ASSERT_OK(response);
  service_.blobs.after_put = [](const BlobId&) {};
  service_.clock.Advance(absl::Hours(10'000));
  service_.Sweep();
  EXPECT_EQ(service_.BlobCount(), 1);
  EXPECT_THAT(service_.Download(DownloadOf(client_.id, "file", response->version().version_id())),
              IsOkAndHolds("content"));
}

// Another process takes this one for dead and sweeps its blob away: then there is no row either.
TEST_F(UploadFileTest, FailsIfItsBlobWasDroppedByAnotherProcess) {
  service_.uploads.inline_blob_limit = 0;
  storage::BlobLedger other_ledger(service_.catalog, service_.clock, storage::IdOf<OwnerId>(2));
  service_.blobs.after_put = [&](const BlobId&) {
    jobs::Sweep sweep(service_.catalog, service_.blobs, other_ledger, service_.clock, Counter());
    ASSERT_OK(sweep.Step("", /*budget=*/1000, std::stop_token()));
  };
  EXPECT_THAT(service_.Upload(Identity("content"), "content"), HasReason(Reason::kBackendDown));
  ExpectNothingStored();
}

TEST_F(UploadFileTest, DeletesItsBlobAtOnceIfTheCatalogHasNoRoomForTheRow) {
  service_.uploads.inline_blob_limit = 0;
  RandomCutSource chunks("content", 100);
  auto upload = UploadFile::Prepare(service_.upload_resources, Identity("content"), chunks);
  ASSERT_OK(upload);
  EXPECT_EQ(service_.BlobCount(), 1);
  EXPECT_THAT(upload->Respond(MakeError(Reason::kStorageFull, "the disk is full")),
              HasReason(Reason::kStorageFull));
  EXPECT_EQ(service_.BlobCount(), 0);
}

TEST_F(UploadFileTest, LeavesItsBlobToTheSweepIfNobodyKnowsWhetherTheRowIsThere) {
  service_.uploads.inline_blob_limit = 0;
  for (const bool row_is_there : {false, true}) {
    {
      RandomCutSource chunks("content", 100);
      auto upload = UploadFile::Prepare(service_.upload_resources, Identity("content"), chunks);
      ASSERT_OK(upload);
      if (row_is_there) {
        ASSERT_OK(service_.catalog.Run(
            [&](storage::Transaction& transaction) { return upload->Apply(transaction); }));
      }
      EXPECT_THAT(upload->Respond(MakeError(Reason::kBackendDown, "the catalog is away")),
                  HasReason(Reason::kBackendDown));
      EXPECT_EQ(service_.BlobCount(), 1);
    }
    service_.Sweep();
    EXPECT_EQ(service_.BlobCount(), row_is_there ? 1 : 0);
  }
}

TEST_F(UploadFileTest, LogsTheSessionKeyOnceInClientModeAndNeverOtherwise) {
  const std::string hex = absl::BytesToHexString(client_.session_key);
  const std::string encoded = EncryptAsClient(client_.session_key, "content");
  {
    const LogCapture log;
    service_.uploads.form = StorageForm::kClientCiphertext;
    const auto response = service_.Upload(Encrypted(encoded), encoded);
    ASSERT_OK(response);
    EXPECT_THAT(log.text(), HasSubstr("CRITICAL"));
    EXPECT_THAT(log.text(),
                HasSubstr(absl::StrCat("client=", client_.id, " file=file version=",
                                       response->version().version_id(), " key=", hex, "\n")));
    EXPECT_EQ(log.text().find(hex), log.text().rfind(hex));
  }
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    const LogCapture log;
    service_.uploads.form = form;
    ASSERT_OK(service_.Upload(Encrypted(encoded), encoded));
    EXPECT_THAT(log.text(), Not(HasSubstr(hex)));
  }
}

}  // namespace
}  // namespace backup::handlers
