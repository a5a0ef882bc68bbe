import { expect, test } from 'vitest';
import { Graph } from '../../cmd/graph.ts';

/** Draws versions given as `id: parent parent`. */
function draw(...versions: readonly string[]): string[] {
  const graph = new Graph();
  return versions.flatMap((version) => {
    const [id, parents] = version.split(':');
    return graph.draw(id!, (parents ?? '').split(' ').filter(Boolean), [id!]);
  });
}

test('Graph draws one column when each version has one parent', () => {
  expect(draw('c: b', 'b: a', 'a:')).toEqual(['* c', '* b', '* a']);
});

test('Graph draws a column for each branch and joins them when they meet', () => {
  expect(draw('x: a', 'y: a', 'a:')).toEqual(['* x', '| * y', '|/', '* a']);
});

test('Graph crosses the columns between when the far ones meet', () => {
  expect(draw('x: a', 'y: b', 'z: a', 'a: b', 'b:')).toEqual([
    '* x',
    '| * y',
    '| | * z',
    '| |/',
    '|/|',
    '* | a',
    '|/',
    '* b',
  ]);
});

test('Graph joins three branches that start at one version', () => {
  expect(draw('x: a', 'y: a', 'z: a', 'a:')).toEqual(['* x', '| * y', '| | * z', '| |/', '|/|', '|/', '* a']);
});

test('Graph parts a column when a version has two parents', () => {
  expect(draw('m: a b', 'b: base', 'a: base', 'base:')).toEqual([
    '* m',
    '|\\',
    '| * b',
    '* | a',
    '|/',
    '* base',
  ]);
});

test('Graph makes room when a version with two parents has columns behind it', () => {
  expect(draw('x: m', 'y: base', 'm: a b', 'a: base', 'b: base', 'base:')).toEqual([
    '* x',
    '| * y',
    '* | m',
    '|\\ \\',
    '* | | a',
    '| * | b',
    '| |/',
    '|/|',
    '|/',
    '* base',
  ]);
});

test('Graph draws every parent when one of them is waited for already', () => {
  expect(draw('lab: b', 'm: a b', 'a: b', 'b:')).toEqual([
    '* lab',
    '| * m',
    '| |\\',
    '| * | a',
    '| |/',
    '|/|',
    '|/',
    '* b',
  ]);
});

test('Graph moves columns up when one ends', () => {
  expect(draw('x: a', 'y: b', 'a:', 'b:')).toEqual(['* x', '| * y', '* | a', ' /', '* b']);
});

test('Graph keeps further lines of text beside the columns', () => {
  const graph = new Graph();
  expect(graph.draw('x', ['a'], ['x', 'text', ''])).toEqual(['* x', '| text', '|']);
  expect(graph.draw('y', ['a'], ['y', 'text'])).toEqual(['| * y', '| | text']);
  expect(graph.draw('a', [], ['a', 'text'])).toEqual(['|/', '* a', ' text']);
});
