#include "services/backup/handlers/key_keeper.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "content/chunk_seal.h"
#include "content/store_keys.h"
#include "crypto/aead.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/keys.h"
#include "services/backup/handlers/sealed_rows.h"
#include "services/backup/handlers/session_keys.h"
#include "services/backup/testing/memory_service.h"
#include "storage/testing/ids.h"

namespace backup::handlers {
namespace {

using crypto::KeyGeneration;
using crypto::MasterKey;
using crypto::MasterKeys;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using ::testing::Optional;
using testing::StatusIs;

const absl::Time kNow = absl::FromUnixSeconds(1'764'446'400);
constexpr char kContext[] = "context";

// A catalog that can stop writing.
class FailingCatalog final : public storage::Catalog {
 public:
  explicit FailingCatalog(storage::Catalog& catalog) : catalog_(catalog) {}
  void Submit(Work work, Done done) override {
    if (fails) return done(MakeError(Reason::kStorageFull, "no room"));
    if (lies) {
      done = [done](const absl::Status&) { done(MakeError(Reason::kStorageIo, "no answer")); };
    }
    catalog_.Submit(std::move(work), std::move(done));
  }

  bool fails = false;
  bool lies = false;  // What is done is told to have failed.
  std::function<void()> before_read = [] {};

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(storage::Snapshot&)>& read) override {
    before_read();
    return catalog_.Read(read);
  }

  storage::Catalog& catalog_;
};

std::unique_ptr<MasterKey> Key(char fill) {
  return std::make_unique<MasterKey>(std::string(32, fill));
}

// The first is the current one.
MasterKeys Keys(absl::string_view fills) {
  MasterKeys keys;
  keys.current = Key(fills[0]);
  keys.origin = "the one in /master.key";
  for (const char fill : fills.substr(1)) keys.old.push_back(Key(fill));
  return keys;
}

// What generation 0 has sealed, with a nonce that looks as if it said that it was generation 9.
std::string SealedAsIfBy9(absl::string_view context) {
  const std::string nonce("BKG1\x09\0\0\0rand", crypto::Aead::kNonceSize);
  crypto::Aead::Nonce bytes;
  std::copy(nonce.begin(), nonce.end(), bytes.begin());
  std::string sealed = nonce;
  crypto::Aead(std::string(32, 'k')).Seal(bytes, context, "a session key", sealed);
  return sealed;
}

// On a store that an older program has left, whose master key is 'k'.
class KeyKeeperTest : public ::testing::Test {
 protected:
  KeyKeeperTest() {
    std::string pattern = absl::StrCat(::testing::TempDir(), "key_keeper_test.XXXXXX");
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/key.generations";
  }
  ~KeyKeeperTest() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<std::unique_ptr<KeyKeeper>> Open(absl::string_view fills) {
    return KeyKeeper::Open(catalog_, Keys(fills), path_, kNow);
  }
  std::string InCatalog(storage::Catalog& catalog) {
    return catalog
        .Read([](storage::Snapshot& snapshot) {
          return snapshot.FindStoreValue(std::string(crypto::kKeyGenerationsName));
        })
        .value()
        .value_or("");
  }
  std::string InCatalog() { return InCatalog(catalog_); }
  void SetInCatalog(const std::string& text) {
    ASSERT_OK(catalog_.Run([&](storage::Transaction& transaction) {
      return transaction.SetStoreValue(std::string(crypto::kKeyGenerationsName), text);
    }));
  }
  std::string InFile() { return crypto::ReadGenerationsFile(path_).value_or(""); }
  bool OpensTheStore(const KeyKeeper& keeper) { return CheckKeyRing(catalog_, keeper.ring()).ok(); }
  // By the newest generation.
  void ResealSecret(const KeyKeeper& keeper) {
    ASSERT_OK(catalog_.Run([&](storage::Transaction& transaction) {
      return transaction.SetStoreValue(std::string(content::StoreKeys::kName),
                                       service_.store_keys.Reseal(keeper.ring()));
    }));
  }

  testing::MemoryService service_;
  FailingCatalog catalog_{service_.catalog};
  std::string folder_;
  std::string path_;
};

TEST_F(KeyKeeperTest, MakesANewStoresFirstGeneration) {
  storage::MemoryCatalog empty;
  const auto keeper = KeyKeeper::Open(empty, Keys("k"), path_, kNow);
  ASSERT_OK(keeper);
  EXPECT_THAT(
      (*keeper)->generations(),
      ElementsAre(AllOf(Field(&KeyGeneration::number, 1u), Field(&KeyGeneration::create_time, kNow),
                        Field(&KeyGeneration::master_key_fingerprint, Key('k')->Fingerprint()))));
  EXPECT_EQ(InCatalog(empty), InFile());
  EXPECT_TRUE((*keeper)->IsRewrapped());
  const std::string sealed = (*keeper)->ring().Seal("secret", kContext);
  const auto again = KeyKeeper::Open(empty, Keys("k"), path_, kNow + absl::Hours(1));
  ASSERT_OK(again);
  EXPECT_EQ((*again)->generations(), (*keeper)->generations());
  EXPECT_THAT((*again)->ring().Open(sealed, kContext), IsOkAndHolds("secret"));
}

TEST_F(KeyKeeperTest, MakesNoneOfAnewStoreWhoseFileCannotBeWritten) {
  storage::MemoryCatalog empty;
  EXPECT_FALSE(KeyKeeper::Open(empty, Keys("k"), folder_ + "/missing/file", kNow).ok());
  EXPECT_EQ(InCatalog(empty), "");
}

TEST_F(KeyKeeperTest, TakesTheMasterKeyOfAnOlderProgramAsGeneration0) {
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  EXPECT_THAT((*keeper)->ring().newest(), Optional(0u));
  EXPECT_TRUE(OpensTheStore(**keeper));
  EXPECT_EQ(InCatalog(), InFile());
  // As before: a copy of the master key is enough.
  EXPECT_THAT(Key('k')->Open((*keeper)->ring().Seal("secret", kContext), kContext),
              IsOkAndHolds("secret"));
}

TEST_F(KeyKeeperTest, RefusesAnotherMasterKeyAndChangesNothing) {
  const auto refuse = [&] {
    const auto refused = Open("x");
    EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(std::string(refused.status().message()),
                AllOf(HasSubstr("another master key"), HasSubstr("/master.key"),
                      HasSubstr("--old_master_key_file")));
  };
  refuse();
  EXPECT_EQ(InCatalog(), "");
  EXPECT_EQ(InFile(), "");
  ASSERT_OK(Open("k"));
  const std::string kept = InCatalog();
  refuse();
  EXPECT_EQ(InCatalog(), kept);
  EXPECT_EQ(InFile(), kept);
}

TEST_F(KeyKeeperTest, SealsByWhatRotateMakesAndStillOpensTheRest) {
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  const std::string before = (*keeper)->ring().Seal("before", kContext);
  const auto made = (*keeper)->Rotate(kNow + absl::Hours(1));
  ASSERT_OK(made);
  EXPECT_EQ(made->number, 1u);
  EXPECT_EQ(made->create_time, kNow + absl::Hours(1));
  const std::string after = (*keeper)->ring().Seal("after", kContext);
  EXPECT_EQ((*keeper)->ring().GenerationOf(after, kContext), 1u);
  EXPECT_EQ(InCatalog(), InFile());
  const auto again = Open("k");
  ASSERT_OK(again);
  EXPECT_THAT((*again)->ring().newest(), Optional(1u));
  EXPECT_THAT((*again)->ring().Open(before, kContext), IsOkAndHolds("before"));
  EXPECT_THAT((*again)->ring().Open(after, kContext), IsOkAndHolds("after"));
  EXPECT_TRUE(OpensTheStore(**again));
}

TEST_F(KeyKeeperTest, ReplacesAMasterKeyThatIsNeededNoMoreThen) {
  // Before the new program ever ran with the old key alone, and after.
  for (const bool adopted : {false, true}) {
    if (adopted) {
      ASSERT_OK(Open("n"));
    }
    const char* const fills = adopted ? "mn" : "nk";
    {
      const auto keeper = Open(fills);
      ASSERT_OK(keeper);
      EXPECT_FALSE((*keeper)->IsRewrapped());
      crypto::KeyRing alone;
      EXPECT_THAT((*keeper)->ReadAlone(alone), HasReason(Reason::kKeyChangeRefused));
      EXPECT_THAT((*keeper)->Rewrap(kNow), IsOkAndHolds(adopted ? 2 : 1));
      EXPECT_TRUE((*keeper)->IsRewrapped());
      EXPECT_OK((*keeper)->ReadAlone(alone));
      // What comes from now on is not sealed by the old key itself.
      EXPECT_THAT((*keeper)->ring().newest(), Optional(1u));
      EXPECT_THAT((*keeper)->Rewrap(kNow), IsOkAndHolds(0));
      EXPECT_EQ((*keeper)->generations().size(), 2u);
    }
    const auto keeper = Open(absl::string_view(fills, 1));
    ASSERT_OK(keeper);
    EXPECT_TRUE(OpensTheStore(**keeper));
    EXPECT_FALSE(Open(absl::string_view(fills + 1, 1)).ok());
  }
}

TEST_F(KeyKeeperTest, HasNoNewGenerationThatOneOfThePlacesLacks) {
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  const std::string kept = InFile();
  // The catalog.
  catalog_.fails = true;
  EXPECT_THAT((*keeper)->Rotate(kNow), HasReason(Reason::kStorageFull));
  EXPECT_THAT((*keeper)->ring().newest(), Optional(0u));
  EXPECT_EQ(InCatalog(), kept);
  // As if that had been a crash.
  catalog_.fails = false;
  {
    const auto after = Open("k");
    ASSERT_OK(after);
    EXPECT_THAT((*after)->ring().newest(), Optional(1u));
    EXPECT_EQ(InCatalog(), InFile());
  }
  // The file.
  std::filesystem::create_directory(path_ + ".new");
  const std::string both = InCatalog();
  EXPECT_FALSE((*keeper)->Rotate(kNow).ok());
  EXPECT_THAT((*keeper)->ring().newest(), Optional(0u));
  EXPECT_EQ(InCatalog(), both);
}

TEST_F(KeyKeeperTest, IsReadableByBothMasterKeysIfItCrashesWhileItRewraps) {
  {
    const auto keeper = Open("nk");
    ASSERT_OK(keeper);
    catalog_.fails = true;
    EXPECT_THAT((*keeper)->Rewrap(kNow), HasReason(Reason::kStorageFull));
    EXPECT_FALSE((*keeper)->IsRewrapped());
    catalog_.fails = false;
  }
  const std::string in_catalog = InCatalog();
  const std::string in_file = InFile();
  for (const char* const fills : {"nk", "kn", "n"}) {
    SetInCatalog(in_catalog);
    ASSERT_OK(crypto::WriteGenerationsFile(path_, in_file));
    const auto keeper = Open(fills);
    ASSERT_OK(keeper) << fills;
    EXPECT_TRUE(OpensTheStore(**keeper)) << fills;
    EXPECT_EQ(InCatalog(), InFile());
    ASSERT_OK((*keeper)->Rewrap(kNow));
    crypto::KeyRing alone;
    EXPECT_OK((*keeper)->ReadAlone(alone));
  }
}

TEST_F(KeyKeeperTest, MakesGoodWhatOneOfThePlacesHasLost) {
  std::string sealed;
  {
    const auto keeper = Open("k");
    ASSERT_OK(keeper);
    ASSERT_OK((*keeper)->Rotate(kNow));
    sealed = (*keeper)->ring().Seal("secret", kContext);
  }
  const std::string kept = InCatalog();
  const auto open_again = [&](const char* what) {
    const auto keeper = Open("k");
    ASSERT_OK(keeper) << what;
    EXPECT_THAT((*keeper)->ring().Open(sealed, kContext), IsOkAndHolds("secret")) << what;
    EXPECT_EQ(InCatalog(), kept) << what;
    EXPECT_EQ(InFile(), kept) << what;
  };
  std::filesystem::remove(path_);
  open_again("no file");
  SetInCatalog("");
  open_again("no rows");
  const std::string damaged = kept.substr(0, kept.size() - 1);
  SetInCatalog(damaged);
  open_again("damaged rows");
  EXPECT_THAT(catalog_.Read([](storage::Snapshot& snapshot) {
    return snapshot.FindStoreValue(KeyKeeper::kDamagedName);
  }),
              IsOkAndHolds(Optional(damaged)));
  // A catalog that is all new: the file is enough for what packs and blobs hold.
  storage::MemoryCatalog lost;
  const auto keeper = KeyKeeper::Open(lost, Keys("k"), path_, kNow);
  ASSERT_OK(keeper);
  EXPECT_THAT((*keeper)->ring().Open(sealed, kContext), IsOkAndHolds("secret"));
  EXPECT_EQ(InCatalog(lost), kept);
}

TEST_F(KeyKeeperTest, RefusesToStartWithoutKeysThatItOnceHad) {
  ASSERT_OK(Open("k"));
  const std::string damaged = InFile().substr(1);
  ASSERT_OK(crypto::WriteGenerationsFile(path_, damaged));
  SetInCatalog("");
  EXPECT_THAT(Open("k"), HasReason(Reason::kStateCorrupt));
  SetInCatalog("neither");
  EXPECT_THAT(Open("k"), HasReason(Reason::kStateCorrupt));
  EXPECT_EQ(InFile(), damaged);
}

// It may have generations that the catalog lacks.
TEST_F(KeyKeeperTest, NeverWritesOverAFileThatItCannotRead) {
  ASSERT_OK(Open("k"));
  const std::string kept = InFile();
  for (const std::string& damaged : {kept.substr(1), std::string()}) {
    ASSERT_OK(crypto::WriteGenerationsFile(path_, damaged));
    const auto refused = Open("k");
    EXPECT_THAT(refused, HasReason(Reason::kStateCorrupt));
    EXPECT_THAT(std::string(refused.status().message()),
                AllOf(HasSubstr(path_), HasSubstr("move it away")));
    EXPECT_EQ(InFile(), damaged);
  }
  // Nor over what cannot be read at all.
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  EXPECT_FALSE(Open("k").ok());
  EXPECT_TRUE(std::filesystem::is_directory(path_));
  // As it was told.
  std::filesystem::rename(path_, path_ + ".damaged");
  ASSERT_OK(Open("k"));
  EXPECT_EQ(InFile(), kept);
}

TEST_F(KeyKeeperTest, SaysThatAGenerationIsMissingRatherThanThatTheMasterKeyIsAnother) {
  storage::MemoryCatalog catalog;
  crypto::KeyRing ring;
  ring.Add(5, std::string(32, 'g'));
  ASSERT_OK(catalog.Run([&](storage::Transaction& transaction) {
    return transaction.SetStoreValue(std::string(content::StoreKeys::kName),
                                     content::StoreKeys::NewSealedSecret(ring));
  }));
  const auto refused = KeyKeeper::Open(catalog, Keys("k"), path_, kNow);
  EXPECT_THAT(refused, HasReason(Reason::kKeyMissing));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("key generation 5"));
}

TEST_F(KeyKeeperTest, IsNewOnlyIfItHoldsNothing) {
  storage::MemoryCatalog plain;
  // A client without a key, as an older program may have left it: nothing of it is sealed.
  ASSERT_OK(plain.Run([](storage::Transaction& transaction) {
    return transaction
        .RegisterClient("laptop", *ClientId::FromBytes(std::string(16, 'c')),
                        storage::DuplicateNames::kReject, kNow)
        .status();
  }));
  const auto keeper = KeyKeeper::Open(plain, Keys("k"), path_, kNow);
  ASSERT_OK(keeper);
  EXPECT_THAT((*keeper)->ring().newest(), Optional(0u));
  EXPECT_EQ((*keeper)->generations().size(), 1u);
}

TEST_F(KeyKeeperTest, MakesNoGenerationBeforeAllAreRewrapped) {
  const auto keeper = Open("nk");
  ASSERT_OK(keeper);
  const auto refused = (*keeper)->Rotate(kNow);
  EXPECT_THAT(refused, HasReason(Reason::kKeyChangeRefused));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("key rewrap"));
  EXPECT_EQ((*keeper)->generations().size(), 1u);
  ASSERT_OK((*keeper)->Rewrap(kNow));
  EXPECT_OK((*keeper)->Rotate(kNow));
}

TEST_F(KeyKeeperTest, RefusesTwoKeysOfOneNumberAndKeepsBoth) {
  const auto one =
      crypto::EncodeGenerations({crypto::WrapGeneration(1, kNow, std::string(32, 'a'), *Key('k'))});
  const auto other =
      crypto::EncodeGenerations({crypto::WrapGeneration(1, kNow, std::string(32, 'b'), *Key('k'))});
  SetInCatalog(one);
  ASSERT_OK(crypto::WriteGenerationsFile(path_, other));
  const auto refused = Open("k");
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("generation 1 is another"));
  EXPECT_EQ(InCatalog(), one);
  EXPECT_EQ(InFile(), other);
}

TEST_F(KeyKeeperTest, OnlyReadsWhereNothingIsToBeChanged) {
  const auto keeper = KeyKeeper::Read(catalog_, Keys("nk"), path_, kNow);
  ASSERT_OK(keeper);
  EXPECT_TRUE(OpensTheStore(**keeper));
  EXPECT_EQ(InCatalog(), "");
  EXPECT_EQ(InFile(), "");
  storage::MemoryCatalog empty;
  const auto of_nothing = KeyKeeper::Read(empty, Keys("k"), path_, kNow);
  ASSERT_OK(of_nothing);
  EXPECT_THAT((*of_nothing)->ring().newest(), Optional(0u));
}

TEST_F(KeyKeeperTest, FindsAFileThatIsNotWhatIsInForce) {
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  crypto::KeyRing ring;
  EXPECT_OK((*keeper)->ReadAlone(ring));
  EXPECT_THAT(ring.newest(), Optional(0u));
  ASSERT_OK(crypto::WriteGenerationsFile(path_, InFile().substr(1)));
  crypto::KeyRing other;
  EXPECT_THAT((*keeper)->ReadAlone(other), HasReason(Reason::kKeyChangeRefused));
  std::filesystem::remove(path_);
  EXPECT_FALSE((*keeper)->ReadAlone(other).ok());
}

TEST_F(KeyKeeperTest, DoesNotMakeGenerationsWithoutEnd) {
  std::vector<KeyGeneration> many;
  for (uint32_t number = 0; number < crypto::kMaxKeyGenerations; ++number)
    many.push_back(crypto::WrapGeneration(number, kNow, std::string(32, 'k'), *Key('k')));
  SetInCatalog(crypto::EncodeGenerations(many));
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  EXPECT_THAT((*keeper)->Rotate(kNow), HasReason(Reason::kKeyChangeRefused));
}

TEST_F(KeyKeeperTest, RemovesGenerationsButNotTheOneThatSeals) {
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  ASSERT_OK((*keeper)->Rotate(kNow));
  ASSERT_OK((*keeper)->Rotate(kNow));
  ResealSecret(**keeper);
  const std::string all = InFile();
  const auto remove = [&](absl::Status also) {
    return (*keeper)->Remove({0, 1, 2}, [&](storage::Transaction&) { return also; });
  };
  // What is to be done besides fails.
  EXPECT_THAT(remove(absl::AbortedError("on purpose")), StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(InCatalog(), all);
  EXPECT_EQ(InFile(), all);
  EXPECT_TRUE((*keeper)->ring().Has(0));
  EXPECT_THAT(remove(absl::OkStatus()), IsOkAndHolds(""));
  EXPECT_EQ(InCatalog(), InFile());
  for (const auto& keys : {Open("k"), Open("k")}) {
    ASSERT_OK(keys);
    EXPECT_THAT((*keys)->generations(), ElementsAre(Field(&KeyGeneration::number, 2u)));
  }
  EXPECT_THAT((*keeper)->generations(), ElementsAre(Field(&KeyGeneration::number, 2u)));
  EXPECT_FALSE((*keeper)->ring().Has(0));
  EXPECT_FALSE((*keeper)->ring().Has(1));
  EXPECT_TRUE(OpensTheStore(**keeper)) << "its secret is sealed by 2";
}

TEST_F(KeyKeeperTest, SaysHowItIsWhileAChangeWaits) {
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  int reads = 0;
  catalog_.before_read = [&] {
    ++reads;
    EXPECT_TRUE((*keeper)->IsInFile());
    EXPECT_TRUE((*keeper)->IsRewrapped());
    EXPECT_EQ((*keeper)->generations().size(), 1u);
  };
  ASSERT_OK((*keeper)->Rotate(kNow));
  EXPECT_GT(reads, 0);
}

TEST_F(KeyKeeperTest, RemovesNoGenerationThatSomethingIsSealedBy) {
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  ASSERT_OK((*keeper)->Rotate(kNow));
  int changes = 0;
  const auto remove = [&] {
    return (*keeper)->Remove({0}, [&](storage::Transaction&) {
      ++changes;
      return absl::OkStatus();
    });
  };
  EXPECT_THAT(remove(), IsOkAndHolds("the store's secret"));
  ResealSecret(**keeper);
  storage::Client client;
  client.id = *ClientId::FromBytes(std::string(16, 'c'));
  client.name = "laptop";
  client.sealed_session_key = SealedAsIfBy9("session-key:" + std::string(16, 'c'));
  ASSERT_OK(OpenSessionKey((*keeper)->ring(), client));
  const auto run = [&](const std::function<absl::Status(storage::Transaction&)>& work) {
    ASSERT_OK(catalog_.Run(work));
  };
  run([&](storage::Transaction& transaction) { return transaction.AddClient(client); });
  const std::string name = absl::StrCat("the session key of the client ", ToUuid(client.id));
  EXPECT_THAT(remove(), IsOkAndHolds(name));
  run([&](storage::Transaction& transaction) { return transaction.DeleteClient(client.id, kNow); });
  EXPECT_THAT(remove(), IsOkAndHolds(name + " in the trash"));
  run([&](storage::Transaction& transaction) {
    return transaction.PurgeClient(client.id, kNow, 1).status();
  });
  EXPECT_TRUE((*keeper)->ring().Has(0));
  EXPECT_EQ((*keeper)->generations().size(), 2u);
  EXPECT_EQ(changes, 0);
  EXPECT_THAT(remove(), IsOkAndHolds(""));
  EXPECT_EQ(changes, 1);
}

// What a change may come to.
enum class End { kBeforeTheFile, kBeforeTheCatalog, kWithoutAnAnswer };

TEST_F(KeyKeeperTest, GoesOnWhereverAChangeEnds) {
  using Change = std::function<absl::Status(KeyKeeper&)>;
  // In a store that has these generations.
  const auto check = [&](const std::string& generations, const Change& change,
                         bool is_removal = false) {
    for (const End end : {End::kBeforeTheFile, End::kBeforeTheCatalog, End::kWithoutAnAnswer}) {
      SCOPED_TRACE(static_cast<int>(end));
      SetInCatalog(generations);
      ASSERT_OK(crypto::WriteGenerationsFile(path_, generations));
      const auto keeper = Open("nk");
      ASSERT_OK(keeper);
      const std::string sealed = (*keeper)->ring().Seal("secret", kContext);
      if (end == End::kBeforeTheFile) std::filesystem::create_directory(path_ + ".new");
      catalog_.fails = end == End::kBeforeTheCatalog;
      catalog_.lies = end == End::kWithoutAnAnswer;
      // What the catalog has is in force, whatever it has told.
      EXPECT_EQ(change(**keeper).ok(), end == End::kWithoutAnAnswer);
      EXPECT_EQ(crypto::EncodeGenerations((*keeper)->generations()), InCatalog());
      EXPECT_EQ(InCatalog() == generations, end != End::kWithoutAnAnswer);
      EXPECT_TRUE(end != End::kBeforeTheFile || InFile() == generations);
      EXPECT_TRUE(!is_removal || (*keeper)->IsInFile());
      catalog_.fails = catalog_.lies = false;
      std::filesystem::remove(path_ + ".new");
      const auto after = Open("nk");
      ASSERT_OK(after);
      EXPECT_EQ(InCatalog(), InFile());
      EXPECT_TRUE(OpensTheStore(**after));
      EXPECT_THAT((*after)->ring().Open(sealed, kContext), IsOkAndHolds("secret"));
      EXPECT_OK(change(**after));
    }
  };
  ASSERT_OK(Open("k"));
  check(InFile(), [](KeyKeeper& keeper) { return keeper.Rewrap(kNow).status(); });
  // By now there is 1, which seals.
  ResealSecret(**Open("nk"));
  const std::string rewrapped = InFile();
  check(rewrapped, [](KeyKeeper& keeper) { return keeper.Rotate(kNow).status(); });
  check(
      rewrapped,
      [](KeyKeeper& keeper) {
        return keeper.Remove({0}, [](storage::Transaction&) { return absl::OkStatus(); }).status();
      },
      /*is_removal=*/true);
}

// Of generation 5, which only somebody else has now.
storage::Client SealedBy5(const ClientId& id) {
  crypto::KeyRing ring;
  ring.Add(5, std::string(32, 'g'));
  storage::Client client;
  client.id = id;
  client.name = "sealed by 5";
  client.sealed_session_key = SealSessionKey(ring, id, std::string(32, 's'));
  return client;
}

TEST_F(KeyKeeperTest, GivesNoNumberToAnotherWhileAGenerationIsMissing) {
  const ClientId id = *ClientId::FromBytes(std::string(16, 'm'));
  const auto keeper = Open("nk");
  ASSERT_OK(keeper);
  ASSERT_OK(catalog_.Run(
      [&](storage::Transaction& transaction) { return transaction.AddClient(SealedBy5(id)); }));
  const std::string kept = InCatalog();
  const auto refuse = [&] {
    const absl::Status refused = (*keeper)->Rewrap(kNow).status();
    EXPECT_THAT(refused, HasReason(Reason::kKeyMissing));
    EXPECT_THAT(std::string(refused.message()),
                AllOf(HasSubstr("key generation 5"), HasSubstr(path_), HasSubstr(ToUuid(id))));
    EXPECT_EQ(InCatalog(), kept);
    EXPECT_EQ(InFile(), kept);
  };
  refuse();
  // In the trash, too.
  ASSERT_OK(catalog_.Run(
      [&](storage::Transaction& transaction) { return transaction.DeleteClient(id, kNow); }));
  refuse();
  const auto as_before = Open("k");
  ASSERT_OK(as_before);
  EXPECT_THAT((*as_before)->Rotate(kNow), HasReason(Reason::kKeyMissing));
  // Nothing new has to be made.
  EXPECT_THAT((*as_before)->Rewrap(kNow), IsOkAndHolds(0));
}

// As it was before a generation was made, whose seals are still in the store.
TEST_F(KeyKeeperTest, GivesNoNumberAgainThoughTheCatalogIsOlderAndTheFileIsLost) {
  const auto value = [&](const char* name, const std::string& text) {
    ASSERT_OK(catalog_.Run(
        [&](storage::Transaction& transaction) { return transaction.SetStoreValue(name, text); }));
  };
  std::set<uint32_t> numbers = {0};
  std::map<std::string, std::string> sealed_in;  // What each file opens.
  ASSERT_OK(Open("k"));
  const std::string before = InCatalog();
  for (const bool is_snapshot : {false, true, true}) {
    SCOPED_TRACE(numbers.size());
    {
      const auto keeper = Open("k");
      ASSERT_OK(keeper);
      const auto made = (*keeper)->Rotate(kNow);
      ASSERT_OK(made);
      EXPECT_TRUE(numbers.insert(made->number).second) << made->number;
      sealed_in[InFile()] = (*keeper)->ring().Seal("secret", kContext);
    }
    SetInCatalog(before);
    std::filesystem::remove(path_);
    if (!is_snapshot) continue;
    if (numbers.size() == 3) value(KeyKeeper::kLastName, "0");
    ASSERT_OK(catalog_.Run([&](storage::Transaction& transaction) {
      return SkipGenerations(transaction, kNow + absl::Seconds(10 * std::ssize(numbers)));
    }));
  }
  // Whichever is found is the right one.
  for (const auto& [file, sealed] : sealed_in) {
    ASSERT_OK(crypto::WriteGenerationsFile(path_, file));
    const auto keeper = Open("k");
    ASSERT_OK(keeper);
    EXPECT_THAT((*keeper)->ring().Open(sealed, kContext), IsOkAndHolds("secret"));
  }
}

TEST_F(KeyKeeperTest, SaysWhichPackNobodyCanOpen) {
  service_.uploads.inline_blob_limit = 100;
  service_.uploads.form = storage::StorageForm::kSealed;
  EXPECT_OK(service_.ledger.Renew());
  service_.Store(service_.MakeClient("laptop").id, "file", std::string(5000, 'x'));
  EXPECT_OK(CheckPacksOpen(catalog_, service_.master_key));
  crypto::KeyRing other;
  other.Add(1, std::string(32, 'g'));
  const absl::Status missing = CheckPacksOpen(catalog_, other);
  EXPECT_THAT(missing, HasReason(Reason::kKeyMissing));
  const auto packs = catalog_.Read(
      [](storage::Snapshot& snapshot) { return snapshot.ListPacks(/*after=*/0, /*limit=*/10); });
  ASSERT_OK(packs);
  ASSERT_EQ(packs->size(), 1u);
  EXPECT_THAT(std::string(missing.message()),
              AllOf(HasSubstr(ToHex(packs->front().blob_id)), HasSubstr("key generation 0")));
}

TEST_F(KeyKeeperTest, KeepsNoStateOfTheCatalogWhileItLooksAtManyPacks) {
  crypto::KeyRing lost;
  lost.Add(1, std::string(32, 'g'));
  const storage::BlobLease lease{storage::IdOf<OwnerId>(1), absl::InfiniteFuture()};
  constexpr int kPacks = 1001;
  ASSERT_OK(catalog_.Run([&](storage::Transaction& transaction) -> absl::Status {
    storage::NewChunks content;
    for (int i = 1; i <= kPacks; ++i) {
      storage::NewPack& pack = content.packs.emplace_back();
      const auto high = static_cast<uint8_t>(i / 256);
      const auto low = static_cast<uint8_t>(i % 256);
      pack.blob_id = storage::IdOf<BlobId>(high, low);
      RETURN_IF_ERROR(transaction.AddPendingBlobs({pack.blob_id}, lease));
      pack.form = storage::StorageForm::kSealed;
      pack.wrapped_key = content::WrapPackKey(std::string(32, 'p'), pack.blob_id,
                                              i < kPacks ? service_.master_key : lost);
      storage::PackedChunk& chunk = pack.chunks.emplace_back();
      chunk.id = storage::IdOf<ChunkId>(high, low);
      chunk.size_bytes = 1;
    }
    return transaction.AppendRecipe(content, lease).status();
  }));
  int reads = 0;
  catalog_.before_read = [&] { ++reads; };
  EXPECT_THAT(CheckPacksOpen(catalog_, service_.master_key), HasReason(Reason::kKeyMissing));
  EXPECT_EQ(reads, 2);
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  reads = 0;
  const absl::StatusOr<v1::ListKeysResponse> listed = ListKeys(catalog_, **keeper);
  ASSERT_OK(listed);
  EXPECT_EQ(listed->generations(0).pack_count(), kPacks - 1);
  EXPECT_GE(reads, 4);
}

// Of a program that had no secret yet: its clients alone tell which master key is the right one.
class KeyKeeperOfClientsTest : public KeyKeeperTest {
 protected:
  KeyKeeperOfClientsTest() {
    client_.id = *ClientId::FromBytes(std::string(16, 'c'));
    client_.name = "laptop";
    client_.sealed_session_key =
        SealSessionKey(crypto::KeyRing(std::string(32, 'k')), client_.id, std::string(32, 's'));
    EXPECT_OK(old_.Run(
        [&](storage::Transaction& transaction) { return transaction.AddClient(client_); }));
  }
  absl::StatusOr<std::unique_ptr<KeyKeeper>> OpenOld(absl::string_view fills) {
    return KeyKeeper::Open(old_, Keys(fills), path_, kNow);
  }

  storage::MemoryCatalog old_;
  storage::Client client_;
};

TEST_F(KeyKeeperOfClientsTest, TakesNoWrongMasterKeyBesideTheFileOfAFirstStart) {
  storage::MemoryCatalog empty;
  ASSERT_OK(KeyKeeper::Open(empty, Keys("x"), path_, kNow));
  const std::string in_file = InFile();
  const auto refused = OpenOld("x");
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr("another master key"), HasSubstr(path_), HasSubstr("move it away")));
  EXPECT_EQ(InCatalog(old_), "");
  EXPECT_EQ(InFile(), in_file);
  // With both, or without that file, all is well.
  const auto with_both = KeyKeeper::Read(old_, Keys("kx"), path_, kNow);
  ASSERT_OK(with_both);
  EXPECT_OK(OpenSessionKey((*with_both)->ring(), client_));
  std::filesystem::remove(path_);
  const auto keeper = OpenOld("k");
  ASSERT_OK(keeper);
  EXPECT_OK(OpenSessionKey((*keeper)->ring(), client_));
}

TEST_F(KeyKeeperOfClientsTest, TakesTheMasterKeyAlsoBesideAListOfOthersInTheCatalog) {
  const auto others =
      crypto::EncodeGenerations({crypto::WrapGeneration(1, kNow, std::string(32, 'g'), *Key('k'))});
  ASSERT_OK(old_.Run([&](storage::Transaction& transaction) {
    return transaction.SetStoreValue(std::string(crypto::kKeyGenerationsName), others);
  }));
  const auto keeper = OpenOld("k");
  ASSERT_OK(keeper);
  EXPECT_EQ((*keeper)->generations().size(), 2u);
  EXPECT_OK(OpenSessionKey((*keeper)->ring(), client_));
  EXPECT_EQ(InCatalog(old_), InFile());
}

// Nothing but its blobs says that they are sealed by the master key itself.
TEST_F(KeyKeeperTest, TakesTheMasterKeyBesideOthersForVersionsThatNoRowTellsOf) {
  storage::MemoryCatalog old;
  storage::Client client;
  client.id = *ClientId::FromBytes(std::string(16, 'c'));
  client.name = "laptop";
  storage::Version version;
  version.client_id = client.id;
  version.file_name = "file";
  version.version_id = 1;
  version.form = storage::StorageForm::kSealed;
  version.sha256 = std::string(32, 's');
  ASSERT_OK(old.Run([&](storage::Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(transaction.AddClient(client));
    return transaction.AddVersion(version, std::string("sealed"), {}).status();
  }));
  storage::MemoryCatalog empty;
  ASSERT_OK(KeyKeeper::Open(empty, Keys("k"), path_, kNow));
  const auto keeper = KeyKeeper::Open(old, Keys("k"), path_, kNow);
  ASSERT_OK(keeper);
  EXPECT_EQ((*keeper)->ring().KeyOf(0), std::string(32, 'k'));
  EXPECT_THAT((*keeper)->ring().newest(), Optional(1u));
  // Nothing has tried it, so it is not kept for good.
  EXPECT_EQ((*keeper)->generations().size(), 1u);
  // A store that holds nothing has nothing that needs it.
  storage::MemoryCatalog other;
  const auto of_new = KeyKeeper::Open(other, Keys("k"), path_ + ".other", kNow);
  ASSERT_OK(of_new);
  EXPECT_FALSE((*of_new)->ring().Has(0));
}

// A file of a store that somebody started before the right catalog was there.
TEST_F(KeyKeeperTest, TakesTheMasterKeyOfAnOlderProgramBesideAFileOfOthers) {
  storage::MemoryCatalog empty;
  ASSERT_OK(KeyKeeper::Open(empty, Keys("k"), path_, kNow));
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  EXPECT_EQ((*keeper)->generations().size(), 2u);
  EXPECT_TRUE(OpensTheStore(**keeper));
  EXPECT_EQ(InCatalog(), InFile());
}

TEST_F(KeyKeeperTest, KeepsNothingThatDoesNotOpenTheStore) {
  storage::MemoryCatalog empty;
  ASSERT_OK(KeyKeeper::Open(empty, Keys("x"), path_, kNow));
  const std::string in_file = InFile();
  const auto refused = Open("x");
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr(path_), HasSubstr("move it away")));
  EXPECT_EQ(InCatalog(), "");
  EXPECT_EQ(InFile(), in_file);
  // As it was told, with the right master key.
  std::filesystem::remove(path_);
  ASSERT_OK(Open("k"));
}

TEST_F(KeyKeeperTest, NeverWritesOverKeysOfAnotherMasterKey) {
  SetInCatalog(crypto::EncodeGenerations(
      {crypto::WrapGeneration(0, kNow, std::string(32, 'k'), *Key('k'))}));
  const auto other =
      crypto::EncodeGenerations({crypto::WrapGeneration(0, kNow, std::string(32, 'b'), *Key('b'))});
  ASSERT_OK(crypto::WriteGenerationsFile(path_, other));
  const auto refused = Open("k");
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr(Key('b')->Fingerprint()), HasSubstr("--key_generations_file")));
  EXPECT_EQ(InFile(), other);
}

TEST_F(KeyKeeperTest, NeverWritesOverWhatAnotherHasWrittenMeanwhile) {
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  const std::string kept = InCatalog();
  const auto other =
      crypto::EncodeGenerations({crypto::WrapGeneration(1, kNow, std::string(32, 'b'), *Key('b'))});
  ASSERT_OK(crypto::WriteGenerationsFile(path_, other));
  const auto refused = (*keeper)->Rotate(kNow);
  EXPECT_THAT(refused, HasReason(Reason::kKeyChangeRefused));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr(path_));
  EXPECT_EQ(InFile(), other);
  EXPECT_EQ(InCatalog(), kept);
  EXPECT_THAT((*keeper)->ring().newest(), Optional(0u));
  std::filesystem::remove(path_);
  EXPECT_OK((*keeper)->Rotate(kNow));
}

TEST_F(KeyKeeperTest, SaysThatItIsTheDiskIfTheFileCannotBeWritten) {
  const auto keeper = KeyKeeper::Open(catalog_, Keys("k"), folder_ + "/missing/file", kNow);
  ASSERT_OK(keeper);
  EXPECT_THAT((*keeper)->Rotate(kNow), HasReason(Reason::kStorageIo));
}

// To look at all clients and packs takes long where there are many, and `retire` tries each minute.
TEST_F(KeyKeeperTest, LooksAtNothingForAChangeThatItCannotKeep) {
  const auto keeper = Open("k");
  ASSERT_OK(keeper);
  ASSERT_OK((*keeper)->Rotate(kNow));
  const std::string kept = InCatalog();
  // A folder that is not empty can be neither written nor replaced.
  std::filesystem::remove(path_);
  std::filesystem::create_directories(path_ + ".new/folder");
  int reads = 0;
  catalog_.before_read = [&] { ++reads; };
  const auto change_nothing = [](storage::Transaction&) { return absl::OkStatus(); };
  EXPECT_THAT((*keeper)->Remove({0}, change_nothing), HasReason(Reason::kStorageIo));
  EXPECT_THAT((*keeper)->Rotate(kNow), HasReason(Reason::kStorageIo));
  EXPECT_EQ(reads, 0);
  EXPECT_EQ(InCatalog(), kept);
  std::filesystem::remove_all(path_ + ".new");
  EXPECT_THAT((*keeper)->Remove({0}, change_nothing), IsOkAndHolds("the store's secret"));
  EXPECT_GT(reads, 0);
  EXPECT_EQ(InFile(), kept);
}

}  // namespace
}  // namespace backup::handlers
