//! Thousands of damaged scenes: each loads or is refused with a sentence, none panics or takes more memory than its
//! bound, and whatever loads can be rendered.
//!
//! `P2C2R_MUTANTS=100000` asks for more of them, `P2C2R_MUTANT=4711` for one alone: a failure names its number.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's report")]

mod amplified;
mod corpus;
mod estimate;
mod files;
mod glb;
mod memory;
mod mutate;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use p2c2r_protocol::tile::{FrameSize, Sampling, SceneTime};
use p2c2r_render::{
    backend::{FrameView, camera, render_pixels},
    limit::SceneLimits,
    prepared::PreparedScene,
    scene::gltf::{LoadedScene, parse_package_at},
};

use self::{
    amplified::amplified,
    corpus::corpus,
    mutate::{Random, mutant},
};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Mutants unless told otherwise.
const DEFAULT_MUTANTS: u64 = 3000;
/// Files of each other kind: one for so many mutants.
const FEWER_FILES: u64 = 10;
/// What a prepared scene may take in this test.
const PREPARED_BYTES: u64 = 64 << 20;
/// What loading, preparing and rendering may take at most: the scene as it is read beside the scene as it becomes,
/// and the trees while they are built; the decoders' own allowance; the document, whose smallest elements are three
/// bytes of text and some hundred in memory.
fn memory_bound(file_bytes: usize) -> usize {
    3 * PREPARED_BYTES as usize + (24 << 20) + 100 * file_bytes
}
/// A file that takes longer is reported. Machines differ, so it decides nothing.
const SLOW: Duration = Duration::from_secs(2);

fn limits() -> SceneLimits {
    SceneLimits { prepared_bytes: PREPARED_BYTES, ..SceneLimits::default() }
}

/// Between the key frames of the corpus.
fn moment() -> SceneTime {
    SceneTime::from_us(400_000).unwrap()
}

/// What became of a mutant.
enum Fate {
    Refused(String),
    Rendered,
    Broken(String),
}

/// Loads, prepares and renders; says what is wrong with the outcome.
fn fate(bytes: &[u8]) -> Fate {
    let LoadedScene { scene, memory, .. } = match parse_package_at(bytes, &limits(), moment()) {
        Ok(loaded) => loaded,
        Err(error) => return Fate::Refused(error.to_string()),
    };
    let prepared = PreparedScene::build(scene);
    prepared.pair_trees();
    let (taken, promised) = (prepared.memory_bytes() as u64, memory.total_bytes());
    if taken > promised {
        return Fate::Broken(format!("it takes {taken} bytes prepared, and {promised} were estimated"));
    }
    let size = FrameSize::new(4, 4).unwrap();
    let sampling = Sampling { first_sample: 0, samples: 1, max_depth: 4, seed: 1, clamp: 0.0 };
    let pixels: Vec<(u32, u32)> = (0..16).map(|pixel| (pixel % 4, pixel / 4)).collect();
    for named in &prepared.scene().cameras {
        let view = FrameView { size, sampling, camera: camera(named, size) };
        if let Err(error) = view.camera.check() {
            return Fate::Broken(format!("camera {:?} loads and cannot be used: {error}", named.name));
        }
        let radiance = render_pixels(&prepared, &view, &pixels);
        if let Some(pixel) = radiance.iter().flatten().find(|value| !(value.is_finite() && **value >= 0.0)) {
            return Fate::Broken(format!("a pixel of camera {:?} is {pixel}", named.name));
        }
    }
    Fate::Rendered
}

/// A sentence for a person: short, on one line, without control characters.
fn is_sentence(text: &str) -> bool {
    (10..2000).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// What came of a file.
struct Finding {
    complaint: Option<String>,
    rendered: bool,
    peak_bytes: usize,
}

/// Loads a scene, prepares and renders it under watch.
fn examine(name: &str, bytes: &[u8]) -> Finding {
    watch(name, bytes.len(), || fate(bytes))
}

/// Does something with a file under watch.
fn watch(name: &str, file_bytes: usize, work: impl FnOnce() -> Fate) -> Finding {
    let started = Instant::now();
    let (outcome, peak) = memory::with_peak(|| catch_unwind(AssertUnwindSafe(work)));
    let rendered = matches!(outcome, Ok(Fate::Rendered));
    let complaint = match outcome {
        Err(_) => Some("it panics".to_owned()),
        Ok(Fate::Broken(complaint)) => Some(complaint),
        Ok(Fate::Refused(error)) if !is_sentence(&error) => {
            Some(format!("its error is no sentence: {error:?}"))
        }
        Ok(_) if peak > memory_bound(file_bytes) => {
            Some(format!("it takes {peak} bytes, and it has {file_bytes}"))
        }
        Ok(_) => None,
    };
    if started.elapsed() > SLOW {
        eprintln!("{name} took {:?}", started.elapsed());
    }
    Finding {
        complaint: complaint.map(|complaint| format!("{name}: {complaint}")),
        rendered,
        peak_bytes: peak,
    }
}

fn number_from(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("the variable holds a number"))
}

/// Every file of the corpus is sound, or of a kind that is not supported yet.
fn check_corpus(corpus: &[(&str, Vec<u8>)]) {
    for (name, original) in corpus {
        match fate(original) {
            Fate::Rendered => {}
            Fate::Refused(error) => eprintln!("\"{name}\" is not supported yet: {error}"),
            Fate::Broken(complaint) => panic!("\"{name}\" itself: {complaint}"),
        }
    }
}

/// Complaints about mutants of the corpus.
fn check_mutants(corpus: &[(&str, Vec<u8>)]) -> Vec<String> {
    let numbers = match number_from("P2C2R_MUTANT") {
        Some(one) => one..one + 1,
        None => 0..number_from("P2C2R_MUTANTS").unwrap_or(DEFAULT_MUTANTS),
    };
    let started = Instant::now();
    let (mut complaints, mut rendered, mut worst, count) = (Vec::new(), 0, 0, numbers.end - numbers.start);
    for number in numbers {
        let mut random = Random::new(number);
        let (name, original) = &corpus[random.below(corpus.len())];
        let bytes = mutant(original, &mut random);
        let finding = examine(&format!("mutant {number} of \"{name}\""), &bytes);
        complaints.extend(finding.complaint);
        rendered += u64::from(finding.rendered);
        worst = worst.max(finding.peak_bytes);
    }
    eprintln!(
        "{count} mutants in {:.1} s: {rendered} rendered, {} broken, at most {} KiB of memory",
        started.elapsed().as_secs_f64(),
        complaints.len(),
        worst / 1024
    );
    assert!(
        count < 100 || rendered * 20 > count,
        "only {rendered} of {count} rendered: the test lost its teeth"
    );
    complaints
}

/// Complaints about damaged files that are no GLBs.
fn check_files(corpus: &[(&str, Vec<u8>)]) -> Vec<String> {
    let count = number_from("P2C2R_MUTANTS").unwrap_or(DEFAULT_MUTANTS) / FEWER_FILES;
    let findings = files::check(corpus, count);
    let rendered = findings.iter().filter(|finding| finding.rendered).count();
    let worst = findings.iter().map(|finding| finding.peak_bytes).max().unwrap_or(0);
    eprintln!("{} other files: {rendered} rendered, at most {} KiB of memory", findings.len(), worst / 1024);
    assert!(rendered * 20 > findings.len(), "only {rendered} of {} rendered", findings.len());
    findings.into_iter().filter_map(|finding| finding.complaint).collect()
}

/// Complaints about small files that ask for much.
fn check_amplified() -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, bytes) in amplified() {
        let finding = examine(&name, &bytes);
        let (file_kib, peak_kib) = (bytes.len() / 1024, finding.peak_bytes / 1024);
        eprintln!("{name}: {file_kib} KiB, {peak_kib} KiB of memory, rendered: {}", finding.rendered);
        complaints.extend(finding.complaint);
    }
    complaints
}

/// One test alone in this process: another one's memory would be counted, too.
#[test]
fn bad_scenes_load_or_are_refused_within_their_memory() {
    let corpus = corpus();
    check_corpus(&corpus);
    estimate::check_generated();
    let mut complaints = check_mutants(&corpus);
    complaints.extend(check_files(&corpus));
    complaints.extend(check_amplified());
    assert!(complaints.is_empty(), "{} files broke:\n{}", complaints.len(), complaints.join("\n"));
}
