// Whose blobs are in an object store, told by one in memory.
#include "services/backup/blobs_location.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "services/backup/open_storage.h"
#include "storage/s3/ownership.h"
#include "storage/s3/testing/fake_store.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/sqlite/testing/fault_vfs.h"
#include "storage/testing/ids.h"
#include "storage/testing/temp_folder.h"

namespace backup {
namespace {

using storage::s3::FakeStore;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::StatusIs;

class BlobsLocationTest : public ::testing::Test {
 protected:
  BlobsLocationTest() {
    ::setenv("AWS_ACCESS_KEY_ID", "KEY", 1);
    ::setenv("AWS_SECRET_ACCESS_KEY", "SECRET", 1);
    for (FakeStore* const fake : {&fake_, &other_}) fake->MakeBucket("bucket");
  }
  ~BlobsLocationTest() override {
    ::unsetenv("AWS_ACCESS_KEY_ID");
    ::unsetenv("AWS_SECRET_ACCESS_KEY");
  }

  BlobsOptions At(const FakeStore& store, const std::string& prefix = "prefix") const {
    BlobsOptions blobs;
    blobs.url = absl::StrCat("s3://bucket/", prefix);
    blobs.endpoint = store.endpoint();
    return blobs;
  }
  std::string Dir(const std::string& name) const { return absl::StrCat(folder_.path(), "/", name); }

  // As a service that starts.
  static absl::StatusOr<Storage> Start(const std::string& dir, const BlobsOptions& blobs) {
    absl::StatusOr<Storage> storage = OpenStorage(dir, {}, {}, {}, blobs);
    if (!storage.ok()) return storage;
    if (const absl::Status claimed = ClaimBlobs(dir, *storage); !claimed.ok()) return claimed;
    return storage;
  }

  // A version whose content is a blob.
  static void StoreSome(Storage& storage, uint8_t number = 1) {
    const BlobId id = storage::IdOf<BlobId>(number);
    StringSource source("bytes");
    ASSERT_OK(storage.blobs->Put(id, source, std::nullopt));
    ASSERT_OK(storage.catalog->Run([&](storage::Transaction& transaction) -> absl::Status {
      storage::Client client;
      client.id = storage::IdOf<ClientId>(number);
      client.name = absl::StrCat("client ", number);
      RETURN_IF_ERROR(transaction.AddClient(client));
      RETURN_IF_ERROR(
          transaction.AddPendingBlobs({id}, {storage::IdOf<OwnerId>(1), absl::InfiniteFuture()}));
      storage::Version version;
      version.client_id = client.id;
      version.file_name = "file";
      version.version_id = number;
      version.size_bytes = 5;
      version.sha256 = std::string(32, 'x');
      return transaction.AddVersion(version, storage::NewBlob{id, 5}, {}).status();
    }));
  }

  static absl::Status Set(storage::Catalog& catalog, TakeOver take_over) {
    return catalog.Run(
        [&](storage::Transaction& transaction) { return LetTakeOver(transaction, take_over); });
  }

  const storage::TempFolder folder_;
  FakeStore fake_{{"KEY", "SECRET", ""}};
  FakeStore other_{{"KEY", "SECRET", ""}};
};

TEST_F(BlobsLocationTest, IsRememberedAndMayBeToldAnew) {
  {
    auto storage = Start(Dir("data"), At(fake_)).value();
    StoreSome(storage);
  }
  for (const BlobsOptions& blobs : {BlobsOptions(), At(fake_)}) {
    const auto storage = Start(Dir("data"), blobs);
    ASSERT_OK(storage);
    EXPECT_OK(storage->blobs->Open(storage::IdOf<BlobId>(1)));
  }
  EXPECT_THAT(Start(Dir("data"), At(fake_, "elsewhere")),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  // What is left out is as it was, not what it would be by itself.
  BlobsOptions without = At(fake_);
  without.endpoint.clear();
  EXPECT_OK(Start(Dir("data"), without));
}

TEST_F(BlobsLocationTest, TakesNoEmptyPlaceForThatOfAFullCatalog) {
  {
    auto storage = Start(Dir("data"), At(fake_)).value();
    StoreSome(storage);
  }
  // Another store, with a bucket of the same name.
  const auto elsewhere = Start(Dir("data"), At(other_));
  EXPECT_THAT(elsewhere, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(elsewhere.status().message()),
              HasSubstr("has not the blobs of this catalog"));
  EXPECT_TRUE(other_.keys().empty());
  // A bucket that was emptied.
  fake_.Empty();
  EXPECT_THAT(Start(Dir("data"), {}), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_TRUE(fake_.keys().empty());
}

// Whoever sends it again would be told that it is there.
TEST_F(BlobsLocationTest, GoesOnInAnEmptiedPlaceOnlyOnceWhatIsGoneIsMarked) {
  {
    auto storage = Start(Dir("data"), At(fake_)).value();
    StoreSome(storage);
  }
  fake_.Empty();
  const auto catalog = [&] { return OpenCatalogFile(Dir("data/catalog.db")).value(); };
  const auto adopt = [&](const BlobsOptions& blobs) {
    return OpenBlobs(Dir("data"), blobs, *catalog()).status();
  };
  const auto refused = StatusIs(absl::StatusCode::kFailedPrecondition);
  ASSERT_OK(Set(*catalog(), TakeOver::kRestored));
  EXPECT_THAT(adopt({}), refused);
  ASSERT_OK(Set(*catalog(), TakeOver::kAccepted));
  ASSERT_OK(Set(*catalog(), TakeOver::kRestored));  // As who makes it anew does.
  for (const FakeStore* const place : {&fake_, &other_}) {
    const auto started = Start(Dir("data"), At(*place));
    EXPECT_THAT(started, refused);
    EXPECT_THAT(std::string(started.status().message()), HasSubstr("state rebuild"));
  }
  EXPECT_TRUE(fake_.keys().empty());
  EXPECT_OK(adopt({}));
  // Nobody has looked what is not there.
  EXPECT_THAT(Start(Dir("data"), At(other_)), refused);
  EXPECT_TRUE(other_.keys().empty());
  EXPECT_OK(Start(Dir("data"), {}));
  EXPECT_OK(Start(Dir("data"), {}));
}

TEST_F(BlobsLocationTest, TakesNoPlaceThatHasBlobsOfOthersOrOfNobody) {
  {
    auto storage = Start(Dir("data"), At(fake_)).value();
    StoreSome(storage);
  }
  const size_t keys = fake_.keys().size();
  EXPECT_THAT(Start(Dir("second"), At(fake_)), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(fake_.keys().size(), keys);
  for (const char* const made : {"second/master.key", "second/catalog.db"})
    EXPECT_FALSE(std::filesystem::exists(Dir(made))) << made;
  // The refusal left nothing that keeps it from another place.
  EXPECT_OK(Start(Dir("second"), At(fake_, "another")));
  fake_.PutObject("bucket", absl::StrCat("third/blobs/", std::string(32, 'a')), "bytes");
  EXPECT_THAT(Start(Dir("third"), At(fake_, "third")),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(BlobsLocationTest, IsNotClaimedTwiceAtOnce) {
  fake_.set_quirks({.before = [this](const FakeStore::Request& request) {
    // Another is as far when this one has looked whether anybody is.
    if (request.method == "PUT" && absl::StrContains(request.key, "/installation/"))
      fake_.PutObject("bucket", "prefix/installation/another", std::string(32, 'a'));
    return std::optional<std::string>();
  }});
  EXPECT_THAT(Start(Dir("data"), At(fake_)), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(fake_.keys(), std::vector<std::string>{"bucket/prefix/installation/another"});
}

TEST_F(BlobsLocationTest, IsHeldByOneOfTwoCopies) {
  {
    auto storage = Start(Dir("data"), At(fake_)).value();
    StoreSome(storage);
  }
  std::filesystem::copy(Dir("data"), Dir("copy"), std::filesystem::copy_options::recursive);
  std::optional<Storage> first = Start(Dir("data"), {}).value();
  EXPECT_FALSE(first->remote->IsTakenOver());
  // The copy does not know of what went on.
  const auto copy = Start(Dir("copy"), {});
  EXPECT_THAT(copy, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(copy.status().message()), HasSubstr("newer copy"));
  // It may take over, and then the first one deletes nothing any more.
  {
    const auto catalog = OpenCatalogFile(Dir("copy/catalog.db")).value();
    ASSERT_OK(Set(*catalog, TakeOver::kRestored));
  }
  const auto taken = Start(Dir("copy"), {});
  ASSERT_OK(taken);
  EXPECT_TRUE(first->remote->IsTakenOver());
  EXPECT_FALSE(taken->remote->IsTakenOver());
  EXPECT_THAT(first->blobs->Delete(storage::IdOf<BlobId>(1)), HasReason(Reason::kBackendDown));
  StringSource source("bytes");
  EXPECT_THAT(first->blobs->Put(storage::IdOf<BlobId>(9), source, std::nullopt),
              HasReason(Reason::kBackendDown));
  EXPECT_OK(taken->blobs->Open(storage::IdOf<BlobId>(1)));
  first.reset();
  EXPECT_THAT(Start(Dir("data"), {}), StatusIs(absl::StatusCode::kFailedPrecondition));
}

// An outage is none's.
TEST_F(BlobsLocationTest, IsNotTakenOverByNobody) {
  const auto storage = Start(Dir("data"), At(fake_)).value();
  fake_.set_quirks({.before = [](const FakeStore::Request&) {
    return std::optional<std::string>(
        "HTTP/1.1 403 Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  }});
  EXPECT_FALSE(storage.remote->IsTakenOver());
  fake_.Empty();
  EXPECT_FALSE(storage.remote->IsTakenOver());
  fake_.set_quirks({});
  EXPECT_FALSE(storage.remote->IsTakenOver());
}

// Of a start before the last one, which nobody waits for any more.
TEST_F(BlobsLocationTest, IsNotTakenOverByAMarkerThatIsPutLate) {
  const auto holder_of = [](const Storage& storage) {
    return storage.catalog
        ->Read([](storage::Snapshot& snapshot) { return snapshot.FindStoreValue("blobs.holder"); })
        .value()
        .value()
        .substr(0, storage::s3::Marker::kHolderSize);
  };
  const std::string early = holder_of(Start(Dir("data"), At(fake_)).value());
  for (int i = 0; i < 3; ++i) EXPECT_NE(holder_of(Start(Dir("data"), {}).value()), early);
  const auto storage = Start(Dir("data"), {}).value();
  const std::string key = fake_.keys().at(0);
  fake_.PutObject("bucket", key.substr(std::string("bucket/").size()), early);
  EXPECT_FALSE(storage.remote->IsTakenOver());
}

TEST_F(BlobsLocationTest, SurvivesAnEndBetweenItsTwoHalves) {
  {
    auto storage = Start(Dir("data"), At(fake_)).value();
    StoreSome(storage);
  }
  // The catalog has a new holder, the store has the old one.
  fake_.set_quirks({.before = [](const FakeStore::Request& request) {
    const bool is_marker =
        request.method == "PUT" && absl::StrContains(request.key, "/installation/");
    return is_marker ? std::optional<std::string>(
                           "HTTP/1.1 403 Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                     : std::nullopt;
  }});
  EXPECT_FALSE(Start(Dir("data"), {}).ok());
  fake_.set_quirks({});
  EXPECT_OK(Start(Dir("data"), {}));
}

// Who may not write who holds them would not know itself in the store.
TEST_F(BlobsLocationTest, IsClaimedOnAFullDiskOnlyByWhoHeldThemBefore) {
  {
    auto storage = Start(Dir("data"), At(fake_)).value();
    StoreSome(storage);
  }
  storage::FaultVfs vfs;
  const auto claim = [&] {
    const auto catalog =
        storage::SqliteCatalog::Open(Dir("data/catalog.db"), {}, {vfs.name()}).value();
    const auto remote = RemoteBlobs::Open(At(fake_), RemoteBlobs::Access::kWrite).value();
    vfs.FailNth(storage::FaultVfs::Op::kWrite, 1, SQLITE_FULL);
    const absl::Status claimed = remote->Claim(Dir("data"), *catalog);
    EXPECT_TRUE(vfs.has_failed());
    vfs.FailNth(storage::FaultVfs::Op::kNone, 0, SQLITE_OK);
    EXPECT_TRUE(!claimed.ok() || !remote->IsTakenOver());
    return claimed;
  };
  EXPECT_OK(claim());
  ASSERT_OK(Set(*OpenCatalogFile(Dir("data/catalog.db")).value(), TakeOver::kRestored));
  EXPECT_THAT(claim(), HasReason(Reason::kStorageFull));
  EXPECT_OK(Start(Dir("data"), {}));
}

TEST_F(BlobsLocationTest, ComesWithTheCatalog) {
  {
    auto storage = Start(Dir("data"), At(fake_)).value();
    StoreSome(storage);
  }
  // Of a snapshot, on another machine.
  std::filesystem::create_directory(Dir("new"));
  for (const char* const name : {"catalog.db", "master.key", "key.generations"}) {
    if (std::filesystem::exists(Dir(absl::StrCat("data/", name))))
      std::filesystem::copy(Dir(absl::StrCat("data/", name)), Dir(absl::StrCat("new/", name)));
  }
  const auto storage = Start(Dir("new"), {});
  ASSERT_OK(storage);
  EXPECT_OK(storage->blobs->Open(storage::IdOf<BlobId>(1)));
  EXPECT_TRUE(std::filesystem::exists(Dir("new/blobs.location")));
}

TEST_F(BlobsLocationTest, IsWrittenWhereItCanBeReadOrNothingStarts) {
  { auto storage = Start(Dir("data"), At(fake_)).value(); }
  // Without a catalog the file alone tells it.
  const auto catalog = OpenCatalogFile(Dir("data/catalog.db")).value();
  for (const std::string text : {"", "s3://bucket/prefix", "s3://bucket/prefix\n\n\n"}) {
    std::ofstream(Dir("data/blobs.location")) << text;
    const auto empty = OpenStorage(Dir("empty"), {}).value();
    EXPECT_FALSE(
        ChooseBlobs(Dir("data"), {}, /*has_local_blobs=*/false, *empty.catalog, Moved::kNo).ok());
  }
}

TEST_F(BlobsLocationTest, IsOnlyReadByWhoReads) {
  {
    auto storage = Start(Dir("data"), At(fake_)).value();
    StoreSome(storage);
  }
  fake_.set_quirks({.before = [](const FakeStore::Request& request) {
    return request.method == "GET" && !request.Has("uploads")
               ? std::nullopt
               : std::optional<std::string>(
                     "HTTP/1.1 403 Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  }});
  const auto reader = OpenStorage(Dir("data"), {}, {}, {}, {}, RemoteBlobs::Access::kRead);
  ASSERT_OK(reader);
  EXPECT_OK(reader->blobs->Open(storage::IdOf<BlobId>(1)));
}

TEST_F(BlobsLocationTest, IsAdoptedByACatalogThatIsMadeAnew) {
  {
    auto storage = Start(Dir("data"), At(fake_)).value();
    StoreSome(storage);
  }
  {
    const auto anew = OpenStorage(Dir("anew"), {}).value();
    // Nobody's, or not there.
    EXPECT_FALSE(OpenBlobs(Dir("anew"), At(other_), *anew.catalog).ok());
    const auto blobs = OpenBlobs(Dir("anew"), At(fake_), *anew.catalog);
    ASSERT_OK(blobs);
    EXPECT_OK((*blobs)->Open(storage::IdOf<BlobId>(1)));
  }
  EXPECT_OK(Start(Dir("anew"), {}));
  // A catalog that knows its blobs takes no others.
  {
    auto storage = Start(Dir("second"), At(other_)).value();
    StoreSome(storage);
    EXPECT_FALSE(OpenBlobs(Dir("second"), At(fake_), *storage.catalog).ok());
  }
}

TEST_F(BlobsLocationTest, IsNotOfBlobsInTheDataDirectory) {
  {
    auto storage = OpenStorage(Dir("data"), {}).value();
    StoreSome(storage);
  }
  EXPECT_THAT(Start(Dir("data"), At(fake_)), StatusIs(absl::StatusCode::kFailedPrecondition));
  // Nor if the catalog alone comes.
  std::filesystem::remove_all(Dir("data/store"));
  EXPECT_THAT(Start(Dir("data"), At(fake_)), StatusIs(absl::StatusCode::kFailedPrecondition));
  BlobsOptions endpoint;
  endpoint.endpoint = fake_.endpoint();
  EXPECT_THAT(OpenStorage(Dir("data"), {}, {}, {}, endpoint),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_TRUE(fake_.keys().empty());
}

TEST_F(BlobsLocationTest, TellsTheFileWithTheKeyAlsoIfItIsRemembered) {
  const std::string credentials = Dir("credentials");
  std::ofstream(credentials) << "[default]\naws_access_key_id=KEY\naws_secret_access_key=SECRET\n";
  EXPECT_EQ(FindCredentialsFile(Dir("data"), {}), "");
  EXPECT_EQ(FindCredentialsFile(Dir("data"), At(fake_)), "");  // It is in variables.
  BlobsOptions with_file = At(fake_);
  with_file.credentials_file = credentials;
  EXPECT_EQ(FindCredentialsFile(Dir("data"), with_file), credentials);
  ASSERT_OK(Start(Dir("data"), with_file));
  EXPECT_EQ(FindCredentialsFile(Dir("data"), {}), credentials);
}

TEST_F(BlobsLocationTest, SaysWhatCannotBeMeant) {
  BlobsOptions blobs;
  EXPECT_OK(CheckBlobsOptions(blobs));
  blobs.credentials_file = Dir("none");
  EXPECT_THAT(CheckBlobsOptions(blobs), StatusIs(absl::StatusCode::kInvalidArgument));
  blobs = {};
  blobs.ca_file = Dir("none");
  EXPECT_THAT(CheckBlobsOptions(blobs), StatusIs(absl::StatusCode::kInvalidArgument));
  blobs = {};
  blobs.max_upload_bytes = 1;
  EXPECT_THAT(CheckBlobsOptions(blobs), StatusIs(absl::StatusCode::kInvalidArgument));
  blobs = {};
  blobs.addressing = "sideways";
  EXPECT_THAT(CheckBlobsOptions(blobs), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace backup
