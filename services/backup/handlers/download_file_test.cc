#include "services/backup/handlers/download_file.h"

#include <functional>
#include <string>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "crypto/sealed_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using storage::StorageForm;
using testing::DownloadOf;
using testing::EncryptAsClient;
using testing::HasReason;
using testing::HeaderOf;
using testing::IsOkAndHolds;
using testing::KnownClient;
using testing::MemoryService;
using testing::PseudoRandomBytes;
using Header = v1::UploadFileHeader;
using Request = v1::DownloadFileRequest;

constexpr StorageForm kForms[] = {StorageForm::kPlain, StorageForm::kSealed,
                                  StorageForm::kClientCiphertext};

class DownloadFileTest : public ::testing::Test {
 protected:
  // Uploads `plain` encrypted, to be kept in `form`; returns the version's id.
  int64_t Store(StorageForm form, const std::string& plain) {
    service_.uploads.form = form;
    const std::string encoded = EncryptAsClient(client_.session_key, plain);
    return service_.Upload(HeaderOf(client_.id, "file", Header::AES_CBC_ZERO_IV, encoded), encoded)
        ->version()
        .version_id();
  }

  // The same, kept in one piece, payload and footer: as older programs did it, and as it is done
  // with a client's ciphertext.
  int64_t StoreWhole(StorageForm form, const std::string& plain) {
    if (form == StorageForm::kClientCiphertext) return Store(form, plain);
    return service_.StoreWhole(client_.id, "file", plain, form);
  }

  MemoryService service_;
  const KnownClient client_ = service_.MakeClient("laptop");
};

TEST_F(DownloadFileTest, GivesAnyRangeOfEveryForm) {
  const auto segment = static_cast<size_t>(crypto::kSegmentSize);
  const std::string plain = PseudoRandomBytes(3 * segment + 7);
  const std::pair<size_t, size_t> ranges[] = {{0, 1},
                                              {1, 15},
                                              {15, 17},
                                              {segment - 1, 2},
                                              {segment, segment},
                                              {segment + 5, 0},
                                              {100, 0},
                                              {plain.size() - 1, 5},
                                              {plain.size(), 0},
                                              {0, plain.size()}};
  for (const StorageForm form : kForms) {
    for (const int64_t version : {Store(form, plain), StoreWhole(form, plain)}) {
      for (const auto& [offset, limit] : ranges) {
        Request request = DownloadOf(client_.id, "file", version);
        request.set_offset_bytes(static_cast<int64_t>(offset));
        request.set_limit_bytes(static_cast<int64_t>(limit));
        EXPECT_THAT(service_.Download(request),
                    IsOkAndHolds(plain.substr(offset, limit == 0 ? std::string::npos : limit)))
            << static_cast<int>(form) << " from " << offset << " for " << limit;
      }
    }
  }
}

TEST_F(DownloadFileTest, GivesTheNewestVerifiedVersionUnlessOneIsNamed) {
  const int64_t old = service_.Store(client_.id, "file", "old");
  service_.Store(client_.id, "file", "confirmed");
  Store(StorageForm::kPlain, "unconfirmed");
  EXPECT_THAT(service_.Download(DownloadOf(client_.id, "file", 0)), IsOkAndHolds("confirmed"));
  EXPECT_THAT(service_.Download(DownloadOf(client_.id, "file", old)), IsOkAndHolds("old"));
}

TEST_F(DownloadFileTest, RefusesRangesOutsideTheFile) {
  const int64_t version = Store(StorageForm::kPlain, "content");
  Request request = DownloadOf(client_.id, "file", version);
  request.set_offset_bytes(8);
  EXPECT_THAT(service_.Download(request), HasReason(Reason::kInvalidField));
  request.set_offset_bytes(-1);
  EXPECT_THAT(service_.Download(request), HasReason(Reason::kInvalidField));
  request.set_offset_bytes(0);
  request.set_limit_bytes(-1);
  EXPECT_THAT(service_.Download(request), HasReason(Reason::kInvalidField));
}

TEST_F(DownloadFileTest, TellsWhatIsNotThere) {
  const int64_t version = Store(StorageForm::kPlain, "content");
  EXPECT_THAT(service_.Download(DownloadOf("11111111-2222-4333-8444-555555555555", "file", 0)),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(service_.Download(DownloadOf(client_.id, "other", 0)),
              HasReason(Reason::kFileNotFound));
  EXPECT_THAT(service_.Download(DownloadOf(client_.id, "file", version + 1)),
              HasReason(Reason::kVersionNotFound));
  ASSERT_OK(service_.Report(client_.id, "file", v1::ReportTransferRequest::ABANDONED));
  EXPECT_THAT(service_.Download(DownloadOf(client_.id, "file", version)),
              HasReason(Reason::kVersionNotFound));
}

TEST_F(DownloadFileTest, NoticesEveryChangedByteOfEveryForm) {
  for (const StorageForm form : kForms) {
    const int64_t version = StoreWhole(form, "some content that is longer than a block");
    const storage::StoredVersion stored = service_.Stored(client_.id, "file", version);
    const std::string whole = std::get<std::string>(stored.content);
    for (size_t at = 0; at < whole.size(); ++at) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ 1);
      service_.Replace(stored, changed);
      EXPECT_THAT(service_.Download(DownloadOf(client_.id, "file", version)),
                  HasReason(Reason::kBlobDamaged))
          << "byte " << at << " of form " << static_cast<int>(form);
    }
    service_.Replace(stored, whole.substr(1));
    EXPECT_THAT(service_.Download(DownloadOf(client_.id, "file", version)),
                HasReason(Reason::kBlobDamaged));
  }
}

TEST_F(DownloadFileTest, LeavesTheSha256ToACallerWhoVerifies) {
  const std::string plain = PseudoRandomBytes(10'000);
  for (const StorageForm form : kForms) {
    const int64_t version = StoreWhole(form, plain);
    Request request = DownloadOf(client_.id, "file", version);
    request.set_caller_verifies(true);
    EXPECT_THAT(service_.Download(request), IsOkAndHolds(plain));
    const storage::StoredVersion stored = service_.Stored(client_.id, "file", version);
    std::string changed = std::get<std::string>(stored.content);
    changed[0] = static_cast<char>(changed[0] ^ 1);
    service_.Replace(stored, changed);
    const absl::StatusOr<std::string> downloaded = service_.Download(request);
    // What is sealed cannot be read without noticing.
    EXPECT_EQ(downloaded.ok(), form != StorageForm::kSealed);
    EXPECT_NE(downloaded.value_or(""), plain);
  }
}

TEST_F(DownloadFileTest, ReadsALargeFileAheadWhateverItsForm) {
  service_.uploads.inline_blob_limit = 0;
  std::string plain = PseudoRandomBytes(kLowPriorityMinSize + 17);
  for (const StorageForm form : kForms) {
    for (const int64_t version : {Store(form, plain), StoreWhole(form, plain)}) {
      const absl::StatusOr<std::string> downloaded =
          service_.Download(DownloadOf(client_.id, "file", version));
      ASSERT_OK(downloaded);
      EXPECT_TRUE(*downloaded == plain) << static_cast<int>(form);
    }
  }
}

TEST_F(DownloadFileTest, NoticesContentThatBelongsToAnotherVersion) {
  const int64_t one = StoreWhole(StorageForm::kPlain, "content");
  const int64_t other = StoreWhole(StorageForm::kPlain, "content");
  service_.Replace(service_.Stored(client_.id, "file", one),
                   std::get<std::string>(service_.Stored(client_.id, "file", other).content));
  EXPECT_THAT(service_.Download(DownloadOf(client_.id, "file", one)),
              HasReason(Reason::kBlobDamaged));
}

TEST_F(DownloadFileTest, NoticesABlobThatIsGone) {
  service_.uploads.inline_blob_limit = 0;
  const int64_t version = StoreWhole(StorageForm::kPlain, "content");
  const storage::StoredVersion stored = service_.Stored(client_.id, "file", version);
  ASSERT_OK(service_.blobs.Delete(std::get<BlobId>(stored.content)));
  EXPECT_THAT(service_.Download(DownloadOf(client_.id, "file", version)),
              HasReason(Reason::kBlobDamaged));
}

TEST_F(DownloadFileTest, OpensSealedContentOnlyWithItsMasterKey) {
  const int64_t version = StoreWhole(StorageForm::kSealed, "content");
  const crypto::KeyRing other(std::string(32, 'o'));
  EXPECT_THAT(OpenContent({service_.catalog, service_.blobs, other, service_.store_keys,
                           *service_.dictionaries},
                          service_.Stored(client_.id, "file", version)),
              HasReason(Reason::kBlobDamaged));
}

// A version that is given up between the moment when the catalog said where its content is and the
// moment when that is read.
class VanishingVersionTest : public DownloadFileTest {
 protected:
  // Makes `vanish` happen when the next blob is opened, with the sweep at its heels.
  void BeforeNextOpen(std::function<void()> vanish) {
    service_.blobs.before_open = [this, vanish = std::move(vanish)](const BlobId&) {
      service_.blobs.before_open = [](const BlobId&) {};
      vanish();
      service_.Sweep();
    };
  }
};

TEST_F(VanishingVersionTest, IsNotFoundRatherThanDamagedIfItIsDeletedBeforeItIsOpen) {
  service_.uploads.inline_blob_limit = 0;
  for (const StorageForm form : kForms) {
    for (const bool caller_verifies : {false, true}) {
      const int64_t version = StoreWhole(form, "content");
      BeforeNextOpen([&] { ASSERT_OK(service_.Delete(client_.id, "file", version)); });
      Request request = DownloadOf(client_.id, "file", version);
      request.set_caller_verifies(caller_verifies);
      EXPECT_THAT(service_.Download(request), HasReason(Reason::kVersionNotFound));
    }
  }
}

TEST_F(VanishingVersionTest, IsNotFoundIfItsClientGivesItUpBeforeItIsOpen) {
  service_.uploads.inline_blob_limit = 0;
  const int64_t version = Store(StorageForm::kClientCiphertext, "content");
  BeforeNextOpen([&] {
    ASSERT_OK(service_.Report(client_.id, "file", v1::ReportTransferRequest::ABANDONED));
  });
  Request request = DownloadOf(client_.id, "file", version);
  request.set_offset_bytes(1);
  EXPECT_THAT(service_.Download(request), HasReason(Reason::kVersionNotFound));
}

TEST_F(VanishingVersionTest, IsNotFoundIfItsClientIsDeletedBeforeItIsOpen) {
  service_.uploads.inline_blob_limit = 0;
  const int64_t version = StoreWhole(StorageForm::kPlain, "content");
  BeforeNextOpen([&] {
    v1::DeleteClientRequest request;
    request.set_client_id(client_.id);
    ASSERT_OK(service_.DeleteClient(request));
  });
  EXPECT_THAT(service_.Download(DownloadOf(client_.id, "file", version)),
              HasReason(Reason::kVersionNotFound));
}

TEST_F(VanishingVersionTest, IsReadToItsEndIfItIsDeletedWhileItIsOpen) {
  service_.uploads.inline_blob_limit = 0;
  for (const StorageForm form : kForms) {
    const std::string plain = PseudoRandomBytes(kLowPriorityMinSize + 17);
    const int64_t version = Store(form, plain);
    const auto download = DownloadFile(service_.stored_places, service_.stages,
                                       DownloadOf(client_.id, "file", version));
    ASSERT_OK(download);
    ASSERT_OK(service_.Delete(client_.id, "file", version));
    service_.Sweep();
    StringSink bytes;
    ASSERT_OK(CopyAll(*download->bytes, bytes));
    EXPECT_TRUE(bytes.bytes() == plain) << static_cast<int>(form);
  }
}

// What is damaged and deleted before that is noticed was deleted.
TEST_F(VanishingVersionTest, IsNotFoundIfItIsDeletedBeforeItsDamageIsNoticed) {
  for (const StorageForm form : kForms) {
    const int64_t version = StoreWhole(form, std::string(1000, 'x'));
    const storage::StoredVersion stored = service_.Stored(client_.id, "file", version);
    std::string changed = std::get<std::string>(stored.content);
    changed[0] = static_cast<char>(changed[0] ^ 1);
    service_.Replace(stored, changed);
    const auto download = DownloadFile(service_.stored_places, service_.stages,
                                       DownloadOf(client_.id, "file", version));
    ASSERT_OK(download);
    ASSERT_OK(service_.Delete(client_.id, "file", version));
    StringSink bytes;
    EXPECT_THAT(CopyAll(*download->bytes, bytes), HasReason(Reason::kVersionNotFound))
        << static_cast<int>(form);
  }
}

}  // namespace
}  // namespace backup::handlers
