//! Random numbers that a seed decides.

/// splitmix64.
#[derive(Clone, Debug, Default)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Mixed first: seeds that follow one another would give the same numbers, one place on.
        Self(Self(seed).number())
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    pub fn percent(&mut self, odds: u64) -> bool {
        self.below(100) < odds
    }

    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// The seeds that a test runs with: so many from 1 on, or what the environment says, one (`7`) or several (`1..100`).
pub fn seeds(count: u64) -> Vec<u64> {
    let Ok(said) = std::env::var("RM_LOG_SEED") else {
        return (1..=count).collect();
    };
    let number = |text: &str| {
        text.parse()
            .expect("RM_LOG_SEED is a number, or two with .. between")
    };
    match said.split_once("..") {
        Some((from, to)) => (number(from)..number(to)).collect(),
        None => vec![number(&said)],
    }
}

/// Says how to run a failed round again.
pub struct Replay(pub u64);

impl Drop for Replay {
    #[expect(clippy::print_stderr, reason = "it is for who runs the test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("run it again with RM_LOG_SEED={}", self.0);
        }
    }
}
